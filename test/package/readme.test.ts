import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ReplyCode } from '../../src/protocol/constants.ts'
import { withVhost } from '../support/management.ts'
import { asModule, codeBlocks, GIVEN_IN_REFERENCE } from './code-blocks.ts'
import { ConsumerProject, packageRoot } from './consumer-project.ts'

const vhost = await withVhost()
const readme = textOf('README.md')
const frozenNames = textOf('test/package/exports.txt').trimEnd().split('\n')

/** Every public name of aioamqp 0.15: its module, its protocol, its channel, its values and its exceptions. */
const AIOAMQP_NAMES = `
  connect from_url host port login password virtualhost ssl verify_ssl login_method insist protocol_factory loop on_error
  client_properties channel_max frame_max heartbeat __version__ __packagename__
  AmqpProtocol CHANNEL_FACTORY state CONNECTING OPEN CLOSING CLOSED connecting connection_closed stop_now worker
  version_major version_minor server_properties server_mechanisms server_locales server_heartbeat server_frame_max
  server_channel_max channels channels_ids_ceil channels_ids_free channels_ids_count connection_tunning ensure_open close
  no_wait timeout wait_closed start_connection channel release_channel_id run send_heartbeat start start_ok close_ok
  server_close tune tune_ok secure_ok open open_ok get_frame dispatch_frame connection_made connection_lost eof_received
  data_received
  is_open channel_id reply_code reply_text flow active exchange_declare exchange exchange_name type_name exchange_delete
  exchange_bind exchange_unbind exchange_destination exchange_source routing_key queue_declare queue queue_name queue_delete
  queue_bind queue_unbind queue_purge basic_publish payload properties mandatory immediate publish basic_qos prefetch_size
  prefetch_count connection_global basic_consume callback last_consumer_tag basic_cancel consumer_tag basic_get no_ack
  basic_client_ack delivery_tag multiple basic_client_nack requeue basic_reject basic_recover_async basic_recover
  confirm_select add_cancellation_callback cancelled_consumers return_callback
  Envelope is_redeliver ReturnEnvelope Properties content_type content_encoding headers delivery_mode priority correlation_id
  reply_to expiration message_id timestamp message_type user_id app_id cluster_id
  AioamqpException AmqpClosedConnection SynchronizationError EmptyQueue NoChannelAvailable ChannelClosed PublishFailed
  DuplicateConsumerTag ConsumerCancelled code message
`
  .trim()
  .split(/\s+/)

/** Every public name of amqplib 2.3: its module, its connection, its channels, its messages, and options that others have not. */
const AMQPLIB_NAMES = `
  connect credentials plain amqplain external clientProperties recovery initialDelay maxDelay factor jitter maxRetries setup
  waitForConnect initialMaxRetries error close disconnect blocked unblocked createChannel createConfirmChannel updateSecret
  assertQueue checkQueue deleteQueue purgeQueue bindQueue unbindQueue messageTtl expires deadLetterExchange
  deadLetterRoutingKey maxLength maxPriority overflow assertExchange checkExchange deleteExchange bindExchange unbindExchange
  alternateExchange publish sendToQueue drain persistent type CC BCC timestamp mandatory expiration waitForConfirms consume
  priority null cancel get false content fields properties deliveryTag redelivered exchange routingKey ack allUpTo ackAll nack
  nackAll reject requeue prefetch qos global recover return IllegalOperationError
`
  .trim()
  .split(/\s+/)

/** The documents for those who use the package. Their code is compiled here, unless a test of its own runs it. */
const guides = ['README.md', ...readdirSync(join(packageRoot, 'docs')).map(name => `docs/${name}`)].filter(name =>
  name.endsWith('.md'),
)
/** Their tests are run by themselves. */
const RUN_ELSEWHERE = ['docs/testing.md', 'docs/codec.md', 'docs/typed-messages.md']
/** Their examples are in the reference of the site. */
const REFERENCE_EXAMPLES = 'site/reference/examples.md'
const MOST_LINES = 260
/** What the worker of docs/getting-started.md prints. */
const EMAIL = "an e-mail: { to: 'ann@example.com' }\n"

/** The declarations of options, and the heading in docs/options.md under which their tables are. */
const OPTION_TABLES = [
  ['dist/patterns/publish/publisher.d.ts', ['PublisherOptions', 'PublisherCloseOptions'], 'protocol.publisher()'],
  [
    'dist/patterns/consume/consumer-options.d.ts',
    ['ConsumerOptions', 'FailureOptions', 'HandlerOptions', 'BatchOptions', 'BatchHandlerOptions'],
    'protocol.consumer()',
  ],
  ['dist/patterns/consume/failure-action.d.ts', ['RetryPolicy'], 'protocol.consumer()'],
  ['dist/patterns/rpc/rpc-client.d.ts', ['RpcClientOptions', 'RpcCallOptions'], 'protocol.rpcClient()'],
  ['dist/amqp-protocol.d.ts', ['ChannelOptions'], 'protocol.channel()'],
  ['dist/amqp-protocol.d.ts', ['ProtocolCloseOptions'], 'protocol.close()'],
] as const

describe('The README and the guides', () => {
  let project: ConsumerProject
  before(async () => {
    project = await ConsumerProject.create()
  })
  after(() => project[Symbol.asyncDispose]())

  it('show code that compiles in a strict program', async () => {
    const files: string[] = []
    for (const guide of guides) {
      if (RUN_ELSEWHERE.includes(guide)) continue
      for (const [i, block] of codeBlocks(textOf(guide)).entries()) {
        const file = `${basename(guide, '.md')}-${i + 1}.ts`
        files.push(file)
        await project.write(file, asModule(block))
      }
    }
    for (const [i, block] of codeBlocks(textOf(REFERENCE_EXAMPLES)).entries()) {
      const file = `reference-${i + 1}.ts`
      files.push(file)
      await project.write(file, asModule(block, GIVEN_IN_REFERENCE))
    }
    assert.ok(files.length > 100, `${files.length} blocks`)
    assert.equal(await project.compile('nodenext', files, { noEmit: true, noUnusedLocals: false }), '')
  })

  it('begin with an example that sends a message, prints it and ends', async () => {
    const [first = ''] = codeBlocks(readme)
    assert.ok(first.includes("connect('amqp://localhost')"))
    // As it stands, so that it needs no compiler.
    await project.write('first.js', first.replace('amqp://localhost', vhost.url))
    assert.deepEqual(await project.node(['first.js']), { exitCode: 0, stdout: 'Hello!\n', stderr: '' })
  })

  it('get a newcomer started with programs that run as they stand', async () => {
    const [send = '', worker = '', test = ''] = codeBlocks(textOf('docs/getting-started.md'))
    await project.write('send.mjs', send.replace('amqp://localhost', vhost.url))
    await project.write('worker.mjs', worker.replace('amqp://localhost', vhost.url))
    await project.write('emails.test.mjs', test)
    assert.deepEqual(await project.node(['send.mjs']), { exitCode: 0, stdout: 'sent\n', stderr: '' })
    const running = spawn(process.execPath, ['worker.mjs'], { cwd: project.folder })
    const ended = once(running, 'exit')
    let printed = ''
    for await (const chunk of running.stdout) {
      const before = printed
      printed += String(chunk)
      if (printed.includes(EMAIL) && !before.includes(EMAIL)) running.kill('SIGTERM')
    }
    assert.deepEqual(await ended, [0, null], printed)
    const { exitCode, stdout } = await project.node(['--test', 'emails.test.mjs'], { NODE_TEST_CONTEXT: undefined })
    assert.equal(exitCode, 0, stdout)
  })

  it('are all in the list of the site', async () => {
    const { SECTIONS } = (await import(join(packageRoot, 'site/sections.mjs'))) as {
      SECTIONS: readonly { readonly guides: readonly (readonly [string, string, string])[] }[]
    }
    const listed = SECTIONS.flatMap(({ guides }) => guides.map(([name]) => `docs/${name}.md`))
    assert.deepEqual([...listed, 'README.md'].sort(), [...guides].sort())
  })

  it('have a README that is read in one sitting', () => {
    const { length } = readme.trimEnd().split('\n')
    assert.ok(length <= MOST_LINES, `${length} lines`)
  })

  it('have badges that are true', () => {
    const { engines, license, dependencies } = JSON.parse(textOf('package.json')) as {
      engines: { node: string }
      license: string
      dependencies?: object
    }
    const badges = Array.from(readme.matchAll(/!\[([^\]]+)\]\(https:\/\/img\.shields\.io\/badge\/([^)]+)-\w+\)/g))
    const shown = badges.map(([, text = '', path = '']) => {
      assert.equal(decodeURIComponent(path).replace('-', ' ').toLowerCase(), text.toLowerCase())
      return text
    })
    const [own = ''] = /RabbitMQ from 3\.10 to 4\.3/.exec(readme) ?? []
    const rabbitmq = own.replace('from ', '')
    assert.deepEqual(shown, [
      `Node ${engines.node}`,
      rabbitmq,
      `dependencies ${Object.keys(dependencies ?? {}).length}`,
      `licence ${license}`,
    ])
  })

  it('have links that a publisher makes absolute by one command', async () => {
    const { withAbsoluteLinks } = (await import(join(packageRoot, 'scripts/readme-links.mjs'))) as {
      withAbsoluteLinks(readme: string, repository: string): string
    }
    const absolute = withAbsoluteLinks(readme, 'git+https://github.com/owner/asyncamqp.git')
    assert.doesNotMatch(absolute, /\]\((?!https:|#)/)
    assert.ok(absolute.includes('](https://github.com/owner/asyncamqp/blob/main/docs/publishing.md)'))
    assert.ok(
      absolute.includes('](https://raw.githubusercontent.com/owner/asyncamqp/main/bench/results/benchmark.svg)'),
    )
    assert.match(absolute, /^# asyncamqp\n\n\[!\[npm\]/)
    assert.equal(withAbsoluteLinks(absolute, 'https://github.com/owner/asyncamqp'), absolute)
  })

  for (const guide of guides) {
    it(`link to documents and headings that are there, in ${guide}`, () => {
      for (const [, link = ''] of textOf(guide).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
        const [file = '', anchor] = link.split('#')
        const target = file === '' ? guide : join(dirname(guide), file)
        assert.ok(existsSync(join(packageRoot, target)), link)
        if (anchor !== undefined) assert.ok(anchorsOf(textOf(target)).includes(anchor), link)
      }
    })
  }

  it('say why each dependency is there', () => {
    const { dependencies, devDependencies } = JSON.parse(textOf('package.json')) as {
      dependencies?: Record<string, string>
      devDependencies: Record<string, string>
    }
    const [, text = ''] = textOf('CONTRIBUTING.md').split('## Dependencies')
    for (const name of Object.keys({ ...dependencies, ...devDependencies })) {
      assert.ok(text.includes(`\`${name}\``), name)
    }
  })

  it('name every error class', () => {
    const text = textOf('docs/errors.md')
    const classes = frozenNames.filter(name => /^[A-Z]\w+Error$/.test(name))
    assert.ok(classes.includes('AmqpError'))
    for (const name of classes) assert.ok(text.includes(`\`${name}\``), name)
  })

  it('say what to do about every code of an error, and about every reply code', () => {
    const rows = textOf('docs/troubleshooting.md')
    const codes = Array.from(textOf('src/errors.ts').matchAll(/readonly code = '(\w+)'/g), match => match[1] ?? '')
    assert.ok(codes.includes('CHANNEL_CLOSED') && codes.length > 15)
    for (const code of codes) assert.match(rows, new RegExp(`^\\| \`${code}\` \\|`, 'm'))
    for (const [name, code] of Object.entries(ReplyCode)) {
      assert.match(rows, new RegExp(`^\\| ${code} \\| \`${name}\` \\|`, 'm'))
    }
  })

  for (const [declarations, interfaces, heading] of OPTION_TABLES) {
    it(`name every option of ${heading}`, () => {
      const text = sectionOf(textOf('docs/options.md'), heading)
      const declared = textOf(declarations)
      for (const name of interfaces.flatMap(each => membersOf(declared, each))) {
        assert.match(text, new RegExp(`^\\| (?:\`\\w+\`, )*\`${name}\``, 'm'))
      }
    })
  }

  it('name every option of rpcServer()', () => {
    const [, names = ''] = /^const OPTIONS = \[(.*?)\]$/ms.exec(textOf('src/patterns/rpc/rpc-server.ts')) ?? []
    const text = sectionOf(textOf('docs/options.md'), 'protocol.rpcServer()')
    assert.ok(names.includes('concurrency'))
    for (const [name] of names.matchAll(/\w+/g)) assert.ok(text.includes(`\`${name}\``), name)
  })

  it('name every option of connect()', () => {
    const text = textOf('docs/connecting.md')
    const names = membersOf(textOf('dist/connection/settings/options.d.ts'), 'ConnectOptions')
    assert.ok(names.includes('host'))
    for (const name of names) assert.ok(text.includes(`\`${name}\``), name)
  })

  for (const [client, names] of [
    ['amqplib', AMQPLIB_NAMES],
    ['aioamqp', AIOAMQP_NAMES],
  ] as const) {
    it(`say what became of every name of ${client}`, () => {
      const words = new Set(textOf(`docs/from-${client}.md`).match(/\w+/g))
      assert.deepEqual(
        names.filter(name => !words.has(name)),
        [],
      )
    })
  }
})

function textOf(file: string): string {
  return readFileSync(join(packageRoot, file), 'utf8')
}

/** The names that an interface of a declaration file declares. */
function membersOf(declarations: string, name: string): string[] {
  const [, body = ''] = new RegExp(`^export interface ${name}\\b[^{]*\\{(.*?)^\\}`, 'ms').exec(declarations) ?? []
  const names = Array.from(body.matchAll(/^\s+readonly (\w+)\??:/gm), match => match[1] ?? '')
  assert.ok(names.length > 0, `no members of ${name}`)
  return names
}

/** What follows a heading of the second level, up to the next one. */
function sectionOf(text: string, heading: string): string {
  const section = text.split(/^## /m).find(each => each.startsWith(`${heading}\n`))
  assert.ok(section !== undefined, heading)
  return section
}

/** The names of the headings in links. */
function anchorsOf(text: string): string[] {
  return Array.from(text.matchAll(/^#+ (.*)$/gm), match =>
    (match[1] ?? '')
      .toLowerCase()
      .replaceAll(/[^\w -]/g, '')
      .replaceAll(' ', '-'),
  )
}
