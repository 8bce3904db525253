import { ignore } from '../../lib/ignore.ts'
import { requiredBuiltin } from '../../lib/platform.ts'
import type { EncodingCodec } from './codec.ts'

type Pack = 'gzip' | 'deflate' | 'brotliCompress'
type Unpack = 'gunzip' | 'inflate' | 'brotliDecompress'

const FUNCTIONS: ReadonlyMap<string, readonly [Pack, Unpack]> = new Map([
  ['gzip', ['gzip', 'gunzip']],
  ['deflate', ['deflate', 'inflate']],
  ['br', ['brotliCompress', 'brotliDecompress']],
])
/** Every version of Node can make a buffer of this size. */
const LARGEST = 0x7fff_ffff
/** Bytes up to which any number of bodies are unpacked at a time. */
const SMALL = 1024 * 1024
/** Work that needs memory waits for its turn. There are as many turns as Node has threads. */
const turns = Array.from({ length: 4 }, () => Promise.resolve())
/** 11, which is Node's default, takes a hundred times as long. */
const BROTLI_QUALITY = 4

/** Bytes that are packed or unpacked without another thread: a third of the CPU, and at most some milliseconds. */
const AT_ONCE = 16 * 1024

/** The codec for a content encoding that Node's zlib knows. */
export function zlibCodec(contentEncoding: string): EncodingCodec | undefined {
  const functions = FUNCTIONS.get(contentEncoding)
  if (functions === undefined) return undefined
  const zlib = requiredBuiltin('node:zlib', `give "codecs" one for content encoding "${contentEncoding}"`)
  const run = async (
    name: Pack | Unpack,
    body: Buffer,
    options: import('node:zlib').BrotliOptions,
  ): Promise<Buffer> => {
    if (body.length <= AT_ONCE && (options.maxOutputLength ?? 0) <= SMALL) return zlib[`${name}Sync`](body, options)
    return await new Promise((resolve, reject) => {
      const call: (body: Buffer, options: object, done: (error: Error | null, result: Buffer) => void) => void =
        zlib[name]
      call(body, options, (error, result) => (error === null ? resolve(result) : reject(error)))
    })
  }
  const [pack, unpack] = functions
  const params = { [zlib.constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY }
  return {
    contentEncoding,
    encode: body => inTurn(() => run(pack, body, { params })),
    async decode(body, maxSize) {
      const within = (maxOutputLength: number): Promise<Buffer> => run(unpack, body, { maxOutputLength })
      try {
        return await within(Math.max(1, Math.min(maxSize, SMALL)))
      } catch (error) {
        if (maxSize <= SMALL || !isTooLarge(error)) throw error
      }
      return inTurn(() => within(Math.min(maxSize, LARGEST)))
    },
  }
}

async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const result = (turns.shift() ?? Promise.resolve()).then(work)
  turns.push(result.then(ignore, ignore))
  return await result
}

/** Whether unpacking ended since it would have made more than it may. */
export function isTooLarge(error: unknown): boolean {
  return (error as Partial<NodeJS.ErrnoException> | null | undefined)?.code === 'ERR_BUFFER_TOO_LARGE'
}
