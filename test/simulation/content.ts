import { isDeepStrictEqual } from 'node:util'
import {
  type BasicProperties,
  decimal,
  double,
  float,
  int8,
  int16,
  int32,
  int64,
  timestamp,
  uint8,
  uint16,
  uint32,
} from '../../src/index.ts'
import { STREAM } from './names.ts'

type Headers = NonNullable<BasicProperties['headers']>

/** What arrives as it is sent: two objects, so that a change of what is sent shows. */
const alike = (make: () => Headers): readonly [Headers, Headers] => [make(), make()]

/** Headers as they are sent, and what arrives of them. */
export const HEADERS: readonly (readonly [sent: Headers, arrives: Headers])[] = [
  alike(() => ({})),
  alike(() => ({ text: 'short', Grüße: 'Straße', long: 'x'.repeat(300), empty: '' })),
  alike(() => ({
    zero: 0,
    one: 1,
    minus: -1,
    most: 2_147_483_647,
    more: 2_147_483_648,
    least: -2_147_483_648,
    less: -2_147_483_649,
  })),
  alike(() => ({
    half: 0.5,
    far: 2 ** 53 - 1,
    past: 2n ** 60n,
    below: -(2n ** 60n),
    yes: true,
    no: false,
    none: null,
    list: [1, 'two', [3.5, null]],
  })),
  alike(() => ({
    date: new Date(1_700_000_000_000),
    bytes: Buffer.from([0, 1, 255]),
    in: { deeper: { and: ['more', { n: 1 }] } },
  })),
  [
    { a: int8(-5), b: uint8(250), c: int16(-300), d: uint16(65_000), e: int32(-70_000), f: uint32(4_000_000_000) },
    { a: -5, b: 250, c: -300, d: 65_000, e: -70_000, f: 4_000_000_000 },
  ],
  [
    { g: int64(-5_000_000_000), h: float(1.5), i: double(0.1), j: timestamp(1_700_000_000), k: decimal(314, 2) },
    { g: -5_000_000_000, h: 1.5, i: 0.1, j: new Date(1_700_000_000_000), k: decimal(314, 2) },
  ],
]

/** All properties but the id and the headers, which come and go one by one. */
export const PROPERTIES = {
  contentType: 'text/plain',
  contentEncoding: 'none',
  priority: 3,
  correlationId: 'this and that',
  replyTo: 'to nobody',
  expiration: '3600000000',
  timestamp: new Date(1_600_000_000_000),
  messageType: 'order',
  userId: 'guest',
  appId: 'simulation',
  clusterId: 'one',
} as const satisfies BasicProperties
const NAMES = Object.keys(PROPERTIES) as (keyof typeof PROPERTIES)[]
/** Messages of which one has more than its id. */
const RICH = 3

/** A number that follows from an id. */
function numberOf(id: string): number {
  let number = 7
  for (let at = 0; at < id.length; at++) number = (number * 31 + id.charCodeAt(at)) >>> 0
  // The last figure of an id alone would choose all.
  return (number ^ (number >>> 15)) >>> 0
}

/** Which properties a message has: a bit each. */
function choose(id: string): { readonly bits: number; readonly headers: readonly [Headers, Headers] | undefined } {
  const number = numberOf(id)
  // A stream keeps messages in another form, and leaves some of that out.
  if (number % RICH !== 0 || id.includes(STREAM)) return { bits: 0, headers: undefined }
  return { bits: number >>> 5, headers: HEADERS[(number >>> 3) % (HEADERS.length + 1)] }
}

/** What a message of that id is published with. */
export function propertiesOf(id: string): BasicProperties & { readonly messageId: string } {
  const { bits, headers } = choose(id)
  if (bits === 0 && headers === undefined) return { messageId: id }
  const properties: Record<string, unknown> = {}
  for (const [n, name] of NAMES.entries()) if (((bits >>> n) & 1) === 1) properties[name] = PROPERTIES[name]
  if (headers !== undefined) properties['headers'] = headers[0]
  return { ...properties, messageId: id }
}

/** What the broker adds. */
const isAdded = (name: string): boolean => name.startsWith('x-')

/** What is wrong with the properties of a message that has come; nothing if they are its own. */
export function wrongProperty(id: string, came: BasicProperties): string | undefined {
  const { bits, headers } = choose(id)
  for (const [n, name] of NAMES.entries()) {
    const should = ((bits >>> n) & 1) === 1 ? PROPERTIES[name] : undefined
    const is = came[name]
    // Few are dates, for which alone it takes more than a look.
    if (is !== should && !isDeepStrictEqual(is, should)) return `${name} is ${is}, and not ${should}`
  }
  if (bits === 0 && headers === undefined) return undefined
  const own = Object.fromEntries(Object.entries(came.headers ?? {}).filter(([name]) => !isAdded(name)))
  for (const name of new Set([...Object.keys(own), ...Object.keys(headers?.[1] ?? {})])) {
    if (!isDeepStrictEqual(own[name], headers?.[1][name])) return `the header ${name} is ${String(own[name])}`
  }
  return undefined
}
