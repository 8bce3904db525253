import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { withVhost } from '../support/management.ts'
import { asModule, codeBlocks } from './code-blocks.ts'
import { ConsumerProject, packageRoot } from './consumer-project.ts'

const vhost = await withVhost()
const readme = readFileSync(join(packageRoot, 'README.md'), 'utf8')
const frozenNames = readFileSync(join(packageRoot, 'test/package/exports.txt'), 'utf8').trimEnd().split('\n')

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

describe('The README', () => {
  const blocks = codeBlocks(readme)
  let project: ConsumerProject
  before(async () => {
    project = await ConsumerProject.create()
  })
  after(() => project[Symbol.asyncDispose]())

  it('shows code that compiles in a strict program', async () => {
    const files = blocks.map((_, i) => `readme-${i + 1}.ts`)
    for (const [i, file] of files.entries()) await project.write(file, asModule(blocks[i] ?? ''))
    assert.equal(await project.compile('nodenext', files, { noEmit: true, noUnusedLocals: false }), '')
  })

  it('begins with an example that sends a message, prints it and ends', async () => {
    const [first = ''] = blocks
    assert.ok(first.includes("connect('amqp://localhost')"))
    // As it stands, so that it needs no compiler.
    await project.write('first.js', first.replace('amqp://localhost', vhost.url))
    assert.deepEqual(await project.node(['first.js']), { exitCode: 0, stdout: 'Hello!\n', stderr: '' })
  })

  it('shows how fire-and-forget publishing goes on after its channel was closed', async () => {
    const snippet = blocks.find(block => block.includes('async function log(')) ?? ''
    await project.write(
      'log.ts',
      `import { connect } from 'asyncamqp'
import { startBroker } from 'asyncamqp/testing'
${snippet}
const broker = await startBroker()
const protocol = await connect({ ...broker.inMemory, onError: () => {} })
await protocol.exchangeDeclare('logs', 'fanout')
await log('one')
await broker.hasPublished(1)
const first = await opened
broker.closeChannels()
await first?.waitClosed().catch(() => {})
await Promise.all([log('two'), log('three')])
await broker.hasPublished(3)
console.log(broker.published.map(({ body }) => body.toString()).join(), first !== (await opened), protocol.channelsIdsCount)
await protocol.close()
await log('four').catch(error => console.log(error.constructor.name))
await broker[Symbol.asyncDispose]()
`,
    )
    assert.equal(await project.compile('nodenext', ['log.ts'], { noUnusedLocals: false }), '')
    assert.deepEqual(await project.node(['log.js']), {
      exitCode: 0,
      stdout: 'one,two,three true 1\nConnectionClosedError\n',
      stderr: '',
    })
  })

  it("links to no files but the source's documents and figures, which the package goes without", () => {
    const links = Array.from(readme.matchAll(/\]\((?!https?:|#)([^)#]+)/g), match => match[1] ?? '')
    const others = links.filter(link => !/^(docs\/[\w-]+\.md|bench\/results\/[\w-]+\.svg)$/.test(link))
    assert.deepEqual(others, [])
    for (const link of links) if (link.endsWith('.md')) assert.ok(existsSync(join(packageRoot, link)), link)
  })

  it('links to headings that are there', () => {
    const anchors = Array.from(readme.matchAll(/^#+ (.*)$/gm), match =>
      (match[1] ?? '').toLowerCase().replaceAll(' ', '-'),
    )
    for (const [, anchor = ''] of readme.matchAll(/\]\(#([^)]+)\)/g)) assert.ok(anchors.includes(anchor), anchor)
  })

  it('says why each dependency is there', () => {
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
      dependencies?: Record<string, string>
      devDependencies: Record<string, string>
    }
    const text = section('Dependencies')
    for (const name of Object.keys({ ...dependencies, ...devDependencies })) {
      assert.ok(text.includes(`\`${name}\``), name)
    }
  })

  it('names every error class', () => {
    const text = section('Errors')
    const classes = frozenNames.filter(name => /^[A-Z]\w+Error$/.test(name))
    assert.ok(classes.includes('AmqpError'))
    for (const name of classes) assert.ok(text.includes(`\`${name}\``), name)
  })

  it('names every option of connect()', () => {
    const text = section('Connecting')
    const declared = readFileSync(join(packageRoot, 'dist/connection/settings/options.d.ts'), 'utf8')
    const members = declared.slice(declared.indexOf('interface ConnectOptions')).matchAll(/^\s+readonly (\w+)\?:/gm)
    const names = Array.from(members, match => match[1] ?? '')
    assert.ok(names.includes('host'))
    for (const name of names) assert.ok(text.includes(`\`${name}\``), name)
  })

  for (const [client, names] of [
    ['amqplib', AMQPLIB_NAMES],
    ['aioamqp', AIOAMQP_NAMES],
  ] as const) {
    it(`says what became of every name of ${client}`, () => {
      const words = new Set(section(`From ${client}`).match(/\w+/g))
      assert.deepEqual(
        names.filter(name => !words.has(name)),
        [],
      )
    })
  }
})

/** The text under a heading of the second level, up to the next one. */
function section(heading: string): string {
  const [, text] = readme.split(`\n## ${heading}\n`)
  assert.ok(text !== undefined, `there is no section "${heading}"`)
  return text.split('\n## ')[0] ?? ''
}
