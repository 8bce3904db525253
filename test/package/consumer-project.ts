import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const packageRoot = fileURLToPath(new URL('../../../', import.meta.url))

export interface CommandResult {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

const STRICT_OPTIONS = {
  target: 'es2022',
  lib: ['es2022'],
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noImplicitOverride: true,
  noImplicitReturns: true,
  noFallthroughCasesInSwitch: true,
  noPropertyAccessFromIndexSignature: true,
  noUnusedLocals: true,
  noUnusedParameters: true,
  isolatedModules: true,
  skipLibCheck: false,
} as const

/** The two ways in which TypeScript programs find a package. */
export const RESOLUTIONS = {
  nodenext: { module: 'nodenext', moduleResolution: 'nodenext' },
  bundler: { module: 'esnext', moduleResolution: 'bundler' },
} as const

/** An empty project with the packed package installed in it, as a user's `npm install` leaves it; no registry is asked. */
export class ConsumerProject {
  readonly folder: string
  readonly #temporary: string

  private constructor(temporary: string) {
    this.#temporary = temporary
    this.folder = join(temporary, 'project')
  }

  static async create(): Promise<ConsumerProject> {
    const temporary = await mkdtemp(join(tmpdir(), 'asyncamqp-package-'))
    const project = new ConsumerProject(temporary)
    await project.write('package.json', JSON.stringify({ name: 'consumer', private: true, type: 'module' }))
    const tarball = await project.#pack()
    await project.#npm(['install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', tarball])
    await mkdir(join(project.folder, 'node_modules/@types'), { recursive: true })
    await symlink(join(packageRoot, 'node_modules/@types/node'), join(project.folder, 'node_modules/@types/node'))
    // What programs install for asyncamqp/opentelemetry.
    await symlink(join(packageRoot, 'node_modules/@opentelemetry'), join(project.folder, 'node_modules/@opentelemetry'))
    return project
  }

  async write(path: string, text: string): Promise<void> {
    const file = join(this.folder, path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, text)
  }

  async copy(from: string, path: string): Promise<void> {
    await cp(from, join(this.folder, path), { recursive: true })
  }

  read(path: string): Promise<string> {
    return readFile(join(this.folder, path), 'utf8')
  }

  /** The text of every declaration file of the package, by its path below dist. */
  async declarations(): Promise<Map<string, string>> {
    const folder = 'node_modules/asyncamqp/dist'
    const texts = new Map<string, string>()
    for (const file of (await this.files(folder)).keys()) {
      if (file.endsWith('.d.ts')) texts.set(file, await this.read(join(folder, file)))
    }
    return texts
  }

  /** All files below `folder` of the project, with their sizes in bytes. */
  async files(folder: string): Promise<Map<string, number>> {
    const entries = await readdir(join(this.folder, folder), { recursive: true, withFileTypes: true })
    const sizes = new Map<string, number>()
    for (const entry of entries.filter(entry => entry.isFile())) {
      const file = join(entry.parentPath, entry.name)
      sizes.set(file.slice(join(this.folder, folder).length + 1), (await stat(file)).size)
    }
    return sizes
  }

  node(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<CommandResult> {
    return run(process.execPath, args, this.folder, env)
  }

  /** Compile `files` with every strict option; the text is what the compiler has to say. */
  async compile(
    resolution: keyof typeof RESOLUTIONS,
    files: readonly string[],
    options: Readonly<Record<string, unknown>> = { noEmit: true },
  ): Promise<string> {
    const config = `tsconfig.${resolution}.json`
    const compilerOptions = { ...STRICT_OPTIONS, ...RESOLUTIONS[resolution], ...options }
    await this.write(config, JSON.stringify({ compilerOptions, files }))
    const compiler = join(packageRoot, 'node_modules/typescript/bin/tsc')
    const { exitCode, stdout, stderr } = await this.node([compiler, '-p', config, '--pretty', 'false'])
    return exitCode === 0 ? '' : `${stdout}${stderr}` || `tsc ended with ${exitCode}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#temporary, { recursive: true, force: true })
  }

  async #pack(): Promise<string> {
    const destination = join(this.#temporary, 'tarball')
    await mkdir(destination)
    await this.#npm(['pack', '--ignore-scripts', '--pack-destination', destination, packageRoot])
    const [tarball] = await readdir(destination)
    if (tarball === undefined) throw new Error(`npm pack of ${packageRoot} made no tarball`)
    return join(destination, tarball)
  }

  async #npm(args: readonly string[]): Promise<void> {
    const { exitCode, stdout, stderr } = await run('npm', args, this.folder)
    if (exitCode !== 0) throw new Error(`npm ${args.join(' ')} ended with ${exitCode}:\n${stdout}${stderr}`)
  }
}

function run(
  command: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    execFile(command, args, { cwd, env: { ...process.env, ...env }, timeout: 120_000 }, (error, stdout, stderr) => {
      if (error === null) resolve({ exitCode: 0, stdout, stderr })
      else if (typeof error.code === 'number') resolve({ exitCode: error.code, stdout, stderr })
      else reject(error)
    })
  })
}
