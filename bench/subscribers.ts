/**
 * What subscribers to the diagnostics channels cost: `npm run bench:subscribers`. CPU of this process per message, the
 * minimum of rounds that alternate in one process: without a subscriber, with one that does nothing, and with
 * OpenTelemetry's SDK, whose sampler takes no span. Two rows beside it are not this package's: what the SDK costs alone, and
 * what a message with the header costs that a publish gets.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { parseArgs } from 'node:util'
import { type Context, context, propagation, type Span, SpanKind, trace } from '@opentelemetry/api'
import {
  NodeTracerProvider,
  ParentBasedSampler,
  RandomIdGenerator,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-node'
import { type BasicProperties, connect } from 'asyncamqp'
import { instrument } from 'asyncamqp/opentelemetry'
import { repeat } from './clients/repeat.ts'
import { bodyOf } from './message.ts'
import { Peer } from './processes.ts'
import { Tally } from './tally.ts'

type Run = (count: number) => Promise<void>
type Leave = () => void

const QUEUE_NAME = 'bench'
const BODY = bodyOf(16)
const COUNT = 10_000
const WARM_UP_ROUNDS = 6

/** Publishes that wait for their confirms, with properties or without. */
async function confirms(properties: () => BasicProperties | undefined): Promise<Run> {
  const { url } = await peer()
  const protocol = await connect(url, { heartbeat: 0 })
  const channel = await protocol.channel({ publisherConfirms: true })
  return repeat.windowed(500, () => channel.publish(BODY, '', QUEUE_NAME, properties()))
}

async function publishes(properties: () => BasicProperties | undefined): Promise<Run> {
  const { url } = await peer()
  const protocol = await connect(url, { heartbeat: 0 })
  const channel = await protocol.channel()
  return async count => {
    for (let number = 0; number < count; number += 1) await channel.basicPublish(BODY, '', QUEUE_NAME, properties())
    await channel.queueDeclare(QUEUE_NAME, { passive: true })
  }
}

async function handles(): Promise<Run> {
  const source = await peer()
  const protocol = await connect(source.url, { heartbeat: 0 })
  const tally = new Tally()
  await protocol.consumer(QUEUE_NAME, message => tally.deliver(message.body, 0), { prefetchCount: 1_000 })
  return count => delivered(source, tally, count)
}

async function consumesAndAcks(): Promise<Run> {
  const source = await peer()
  const protocol = await connect(source.url, { heartbeat: 0 })
  const channel = await protocol.channel()
  const tally = new Tally()
  await channel.basicQos({ prefetchCount: 1_000 })
  await channel.basicConsume((on, body, { deliveryTag }) => {
    void on.basicClientAck(deliveryTag)
    tally.deliver(body, 0)
  }, QUEUE_NAME)
  return count => delivered(source, tally, count)
}

function delivered(source: Peer, tally: Tally, count: number): Promise<void> {
  const all = tally.more(count)
  source.deliver(count)
  return all
}

async function peer(): Promise<Peer> {
  const started = await Peer.start()
  const alone = { confirm: 'single', confirmAfter: 1, withProperties: false, consumers: 1 } as const
  await started.prepare({ ...alone, bodySize: BODY.length, deliveryFrameMax: 131_072 })
  return started
}

// ---- who looks

function nothing(): void {}

/** Subscribes to all events of publishes, of the work on messages and of settlements. */
function subscribeNothing(): Leave {
  const names = ['publish', 'process', 'settle'].flatMap(operation =>
    ['start', 'end', 'error', 'asyncStart', 'asyncEnd'].map(event => `tracing:asyncamqp:${operation}:${event}`),
  )
  for (const name of names) subscribe(name, nothing)
  return () => {
    for (const name of names) unsubscribe(name, nothing)
  }
}

const sampler = new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(0) })
new NodeTracerProvider({ sampler }).register()
const instrumentation = instrument()
instrumentation.disable()

function traceNothing(): Leave {
  instrumentation.enable()
  return () => instrumentation.disable()
}

// ---- what the SDK costs alone

const OPTIONS = {
  kind: SpanKind.PRODUCER,
  attributes: {
    'messaging.system.name': 'rabbitmq',
    'messaging.operation.name': 'publish',
    'messaging.operation.type': 'send',
    'messaging.destination.template': QUEUE_NAME,
    'messaging.destination.name': QUEUE_NAME,
    'server.address': '127.0.0.1',
    'server.port': 5672,
  },
}

function sdkAlone(use: (within: Context) => void): Run {
  const tracer = trace.getTracer('bench')
  const one = (): void => {
    const active = context.active()
    const span: Span = tracer.startSpan('publish bench', OPTIONS, active)
    use(trace.setSpan(active, span))
    span.end()
  }
  return async count => {
    for (let number = 0; number < count; number += 1) one()
  }
}

const inject = sdkAlone(within => propagation.inject(within, {}))
const enter = sdkAlone(within => context.with(within, nothing))

const none = (): undefined => undefined

/** Made of parts for each message, as a propagator makes it. */
function header(): BasicProperties {
  const [traceId, spanId] = IDS[Math.floor(Math.random() * IDS.length)] ?? []
  return { headers: { traceparent: `00-${traceId}-${spanId}-0${Number(0).toString(16)}` } }
}

const generator = new RandomIdGenerator()
const IDS = Array.from({ length: 1_000 }, () => [generator.generateTraceId(), generator.generateSpanId()])

const ROWS: Readonly<Record<string, () => Promise<{ run: Run; sdk: Run; header?: Run }>>> = {
  publish: async () => ({ run: await publishes(none), sdk: inject, header: await publishes(header) }),
  confirm: async () => ({ run: await confirms(none), sdk: inject, header: await confirms(header) }),
  handler: async () => ({ run: await handles(), sdk: enter }),
  'consume and ack': async () => ({ run: await consumesAndAcks(), sdk: enter }),
}

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '30' } } })
console.log('µs of CPU a message      none  subscriber  not sampled  (SDK alone  header  the rest)')
for (const [name, make] of Object.entries(ROWS)) {
  const { run, sdk, header: headed = nothing } = await make()
  const contenders: readonly (readonly [Run | typeof nothing, (() => Leave)?])[] = [
    [run],
    [run, subscribeNothing],
    [run, traceNothing],
    [sdk],
    [headed],
  ]
  const least = contenders.map(() => Number.POSITIVE_INFINITY)
  for (let round = 0; round < WARM_UP_ROUNDS + Number(values.rounds); round += 1) {
    for (const [index, [work, look]] of contenders.entries()) {
      const leave = look?.()
      const before = process.cpuUsage()
      await work(COUNT)
      const { user, system } = process.cpuUsage(before)
      leave?.()
      if (round >= WARM_UP_ROUNDS) least[index] = Math.min(least[index] ?? 0, (user + system) / COUNT)
    }
  }
  const [none = 0, subscriber = 0, traced = 0, alone = 0, withHeader = 0] = least
  const sent = headed === nothing ? 0 : withHeader - none
  const figures = [none, subscriber - none, traced - none, alone, sent, traced - none - alone - sent]
  const [first, ...more] = figures.map(figure => figure.toFixed(2))
  console.log(name.padEnd(22), first, ...more.map(figure => `+${figure}`.padStart(10)))
}
process.exit(0)
