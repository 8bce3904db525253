import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compileFunction } from 'node:vm'
import { transformSync } from 'esbuild'

type Exports = Record<string, unknown>
type Body = (require: (id: string) => unknown, module: { exports: Exports }, exports: Exports) => void

interface Source {
  readonly body: Body
  /** Modules of the project that it imports, by the names it has for them. */
  readonly imports: ReadonlyMap<string, string>
}

/** Seen from the compiled file. */
const project = fileURLToPath(new URL('../../../../', import.meta.url))
const outside = createRequire(join(project, 'package.json'))

/** Compile a module, so that it can be made as often as one likes. */
function compile(path: string, text: string): Source {
  const supported = { 'dynamic-import': false }
  const { code } = transformSync(text, { loader: 'ts', format: 'cjs', target: 'node20', supported })
  const body = compileFunction(code, ['require', 'module', 'exports'], { filename: join(project, path) }) as Body
  const imports = new Map<string, string>()
  for (const [, id = ''] of code.matchAll(/require\("(\.[^"]+)"\)/g)) imports.set(id, join(dirname(path), id))
  return { body, imports }
}

/**
 * The client and the simulation in one process, in which a module can be replaced: what imports it, through others
 * too, is made again, and all else stays, with the machine code that V8 has for it.
 */
export class Modules {
  readonly #sources: Map<string, Source>
  readonly #made = new Map<string, Exports>()

  constructor(sources = new Map<string, Source>()) {
    this.#sources = sources
  }

  /** The same with another text of one module. */
  with(path: string, text: string): Modules {
    const others = new Modules(new Map(this.#sources).set(path, compile(path, text)))
    const importers = this.#importers(path)
    for (const [made, exports] of this.#made) if (!importers.has(made)) others.#made.set(made, exports)
    return others
  }

  get(path: string): unknown {
    const made = this.#made.get(path)
    if (made !== undefined) return made
    const { body, imports } = this.#source(path)
    const module = { exports: {} }
    const within = (id: string): unknown => {
      const imported = imports.get(id)
      return imported === undefined ? outside(id) : this.get(imported)
    }
    body(within, module, module.exports)
    this.#made.set(path, module.exports)
    return module.exports
  }

  #source(path: string): Source {
    const source = this.#sources.get(path) ?? compile(path, readFileSync(join(project, path), 'utf8'))
    this.#sources.set(path, source)
    return source
  }

  /** A module, and all that were made and import it. */
  #importers(path: string): ReadonlySet<string> {
    const importers = new Set([path])
    for (const one of importers) {
      for (const [other, { imports }] of this.#sources) if ([...imports.values()].includes(one)) importers.add(other)
    }
    return importers
  }
}
