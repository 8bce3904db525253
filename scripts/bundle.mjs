/**
 * Puts the library, with what it uses of other packages, into CommonJS files: one for each entry, one for what several have
 * in common, and one for each part that is loaded when it is first used. Beside each entry is an ES module that exports the
 * same objects: `import` and `require` share one instance of everything.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { transform } from 'esbuild'
import { rollup } from 'rollup'
import { parseAst } from 'rollup/parseAst'

/** Entries of the package, by their names there, and the compiled files that export what is public. */
export const entries = {
  index: 'index.js',
  testing: 'testing/index.js',
  codec: 'codec/index.js',
  opentelemetry: 'opentelemetry/index.js',
}

/** What the package imports without `node:`, by the name of the package that bundlers for browsers put in its place. */
const replaceable = { 'node:buffer': 'buffer', 'node:events': 'events' }

/** With an error that ends the process, Node prints the line that threw it: the statement, and not a screenful. */
const LONGEST_LINE = 120

/**
 * Writes the entries with their ES modules and declarations, and the licences of what is in them besides the library.
 *
 * @param {string} folder of compiled code, without comments
 * @param {string} outFolder
 */
export async function bundle(folder, outFolder) {
  const bundled = await rollup({
    input: Object.fromEntries(Object.entries(entries).map(([name, file]) => [name, join(folder, file)])),
    external: [/^node:/, '@opentelemetry/api'],
    // Reading a property may call a getter, whose effect counts.
    treeshake: 'safest',
    plugins: [bufferLayout],
    onLog(level, { message }) {
      if (level === 'warn') throw new Error(`The bundler warns: ${message}`)
    },
  })
  const { output } = await bundled.generate({
    format: 'cjs',
    generatedCode: 'es2015',
    esModule: true,
    // What only other files of the package load has short names there: 7 kB less of code for the main entry.
    minifyInternalExports: true,
    // What the main entry and code that it loads later have in common bears the name of the entry.
    chunkFileNames: ({ name }) => (name === 'index' ? 'client.js' : '[name].js'),
    // One file for all that several entries have, whichever these are.
    manualChunks: (id, { getModuleInfo }) => (isShared(id, getModuleInfo) ? 'core' : undefined),
    paths: replaceable,
    // Browsers have no global of this name.
    intro: "const { Buffer } = require('buffer');",
  })
  mkdirSync(outFolder, { recursive: true })
  for (const chunk of output) {
    if (chunk.type !== 'chunk') throw new Error(`The bundler made ${chunk.fileName}, which is no code.`)
    const { fileName, code, exports, isEntry, name } = chunk
    checkImports(chunk)
    writeFileSync(join(outFolder, fileName), await inLittleRoom(isEntry ? code : exportingAtOnce(code)))
    if (isEntry) writeFileSync(join(outFolder, `${name}.mjs`), moduleOf(`./${fileName}`, exports))
  }
  for (const [name, file] of Object.entries(entries)) {
    const declarations = `export * from './${file}'\n`
    writeFileSync(join(outFolder, `${name}.d.mts`), declarations)
    if (file !== `${name}.js`) writeFileSync(join(outFolder, `${name}.d.ts`), declarations)
  }
  // It marks the files beside it as CommonJS for Node, bundlers and compilers: the package itself has ES modules.
  writeFileSync(join(outFolder, 'package.json'), '{ "type": "commonjs" }\n')
  writeFileSync(join(outFolder, 'THIRD-PARTY-LICENSES.txt'), license())
}

/**
 * Whether several entries lead to a module.
 *
 * @param {string} id
 * @param {import('rollup').GetModuleInfo} getModuleInfo
 */
function isShared(id, getModuleInfo) {
  const users = new Set([id])
  for (const user of users) for (const importer of getModuleInfo(user)?.importers ?? []) users.add(importer)
  return Array.from(users).filter(user => getModuleInfo(user)?.isEntry).length > 1
}

/**
 * Only the broker for tests and what listens to diagnostics channels may import modules that browsers lack.
 *
 * @param {import('rollup').OutputChunk} chunk
 */
function checkImports({ name, imports, dynamicImports }) {
  if (name === 'testing' || name === 'opentelemetry') return
  const others = [...imports, ...dynamicImports].filter(id => id.startsWith('node:') && !(id in replaceable))
  if (others.length === 0) return
  throw new Error(`${name} imports ${others}, which browsers have not: use src/lib/platform.ts`)
}

/**
 * An ES module that exports what a CommonJS module does. It names each export, since Node finds those of a CommonJS module
 * by a look at its text, and not every loader does.
 *
 * @param {string} file
 * @param {readonly string[]} names
 */
function moduleOf(file, names) {
  return `import commonjs from '${file}'\n\nexport const {\n\t${names.join(',\n\t')},\n} = commonjs\n`
}

const require = createRequire(import.meta.url)
const bufferLayoutFile = require.resolve('buffer-layout')

/**
 * The package assigns everything to `exports`, of which a bundler must keep the whole: 50 kB, of which 8 are used.
 *
 * @type {import('rollup').Plugin}
 */
const bufferLayout = {
  name: 'buffer-layout as an ES module',
  resolveId: id => (id === 'buffer-layout' ? bufferLayoutFile : null),
  load(id) {
    if (id !== bufferLayoutFile) return null
    const source = readFileSync(id, 'utf8')
    const bare = source
      .replace(/^ *\/\*[\s\S]*?\*\/\n/gm, '')
      .replace(/^ *\/\/.*\n/gm, '')
      // As the compiler indents.
      .replace(/^ +/gm, spaces => spaces + spaces)
    assertSameProgram(source, bare)
    // The comment stays in the file.
    return `//! buffer-layout\n${bare}`
      .replace(/^exports\.(\w+) = \1;$/gm, 'export { $1 };')
      .replace(/^exports\.const = /m, 'export const constant = ')
      .replace(/^exports\.(\w+) = /gm, 'export const $1 = ')
  },
}

/**
 * A file that only other files of the package load exports all by one statement. Then it has V8 keep the exports as it keeps
 * the members of a class, which it does for the prototype of an object that is walked. Else an object with 200 names is a hash
 * table to it, in which each name that another file uses in its hot path is looked up ("publish 16 B": 0.16 µs instead of 0.27,
 * "consume 16 B": 0.30 instead of 0.45).
 *
 * @param {string} code
 */
function exportingAtOnce(code) {
  const names = Array.from(code.matchAll(/^exports\.(\w+) = ([\w$]+);\n/gm), ([, name, value]) =>
    name === value ? name : `${name}: ${value}`,
  )
  const rest = code.replace(/^exports\.\w+ = [\w$]+;\n/gm, '')
  return `${rest}Object.assign(exports, { ${names.join(', ')} });\nfor (const _ in Object.create(exports)) {}\n`
}

/**
 * Without white space, in shorter statements with shorter variables, of which V8 reads almost twice as many in the same time
 * ("require": 25 ms instead of 28). The names of functions, classes and public methods stay, which stacks and profiles show.
 *
 * @param {string} code
 */
async function inLittleRoom(code) {
  const { code: written } = await transform(code, {
    minifyWhitespace: true,
    minifySyntax: true,
    // Not those at the top level.
    minifyIdentifiers: true,
    // With the default charset, all is ASCII: one other character makes V8 keep and read two bytes for each.
    lineLimit: LONGEST_LINE,
  })
  // A line that ends within a string: a bundler that indents what it bundles would put its indentation into the string.
  return inLines(written.replace(/(?<!\\)((?:\\\\)*)\\\n/g, '$1'))
}

/**
 * Ends lines also in front of statements and of members of classes, of which one that does not fit begins a line.
 *
 * @param {string} code
 */
function inLines(code) {
  /** @type {Map<number, number>} where each of them begins and ends */
  const parts = new Map()
  JSON.stringify(parseAst(code), (_key, value) => {
    const { type, body, consequent } = value ?? {}
    const list = type === 'SwitchCase' ? consequent : body
    if (Array.isArray(list)) for (const { start, end } of list) parts.set(start, end)
    return typeof value === 'bigint' ? String(value) : value
  })
  let written = ''
  let copied = 0
  let lineStart = 0
  for (const [start, end] of [...parts].sort(([one], [other]) => one - other)) {
    lineStart = Math.max(lineStart, code.lastIndexOf('\n', start) + 1)
    if (end - lineStart <= LONGEST_LINE || start === lineStart) continue
    written += `${code.slice(copied, start)}\n`
    copied = start
    lineStart = start
  }
  written += code.slice(copied)
  assertSameProgram(code, written)
  return written
}

/**
 * White space and comments may differ, but not in a template literal over several lines, for one.
 *
 * @param {string} before
 * @param {string} after
 */
function assertSameProgram(before, after) {
  const [one, other] = [before, after].map(code =>
    JSON.stringify(parseAst(code), (key, value) => {
      if (key === 'start' || key === 'end') return undefined
      return typeof value === 'bigint' ? `${value}n` : value
    }),
  )
  if (one !== other) throw new Error('The code does something else without its comments and spaces.')
}

function license() {
  const folder = dirname(require.resolve('buffer-layout/package.json'))
  const { name, version, homepage } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const text = readFileSync(join(folder, 'LICENSE'), 'utf8')
  return `core.js contains parts of ${name} ${version} (${homepage}), under this licence:\n\n${text}`
}
