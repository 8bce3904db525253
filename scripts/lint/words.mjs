// Finds words that make a sentence hard to read, in documents, comments, test titles and texts of errors.
//
//     node scripts/lint/words.mjs              says where they are, and fails if there is one
//     node scripts/lint/words.mjs --count      says how many there are in each folder
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** What to look for, and what to write instead. Code in backticks does not count. */
const WORDS = /** @type {const} */ ([
  [
    /(?:^|[.;:] )Where [^.;:?]*, |, where\b|\bwhere (?:there|nothing|none|no|nobody) |\b(?:undefined|null|false|rejects|also|reason|\w*Error) where\b/,
    '"if", "when" or "in which"',
  ],
  // Things may be left behind, and a server may be behind a proxy.
  [/(?<!\b(?:leaves?|left|leaving)\b.*)\bbehind\b(?! (?:a proxy|one interface))/i, '"after"'],
  [/\b(?:tell|tells|telling|told)\b/i, '"report", "emit", "reject", "log", "say" or "distinguish"'],
  [/\b[Ww]hoever\b|(?:^|[.;:] )Who\b(?!.*\?)/, 'the name of the thing: the caller, the program, the broker'],
  [/\bnobody\b/i, 'the name of the thing: no caller, no listener, no queue'],
  [/\b(?<!there )(?:is|are|was|were) no (?!longer\b|more\b|limit\b|such\b)[a-z]/i, '"is not a"'],
  [/\b(?:is|are|was|were) to be\b/, '"will", "must" or "should"'],
  [/\bso (?:many|long) (?!as\b|that\b|ago\b)/i, 'the number or the option'],
  [/\b(?:(?<!Waited )in vain|in peace|kin|barren|to be had)\b/i, 'an ordinary word'],
  [/(?:^|[.] )(?:The same|Again)[,.:]/, 'a sentence with subject and verb'],
  [/\banew\b/i, '"again"'],
])

const PARTS = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'docs', 'src', 'test', 'scripts', 'bench', 'examples']
/** The words themselves, and what still has to be gone through. */
const LEFT_OUT = ['scripts/lint/words.mjs']

/**
 * The sentences of a file, by the number of their line.
 *
 * @param {string} file
 * @returns {[number, string][]}
 */
function proseOf(file) {
  const text = readFileSync(join(root, file), 'utf8')
  const lines = file.endsWith('.md') ? withoutBlocks(text) : text.split('\n')
  let isComment = false
  return lines.map((line, i) => {
    if (file.endsWith('.md')) return [i + 1, line]
    const trimmed = line.trim()
    if (isComment || trimmed.startsWith('/*')) {
      isComment = !trimmed.includes('*/')
      return [i + 1, trimmed.replace(/^(?:\/\*\*?|\*\/|\*)\s?/, '')]
    }
    const [, comment = ''] = /(?:^|\s)\/\/ (.*)$/.exec(line) ?? []
    return [i + 1, comment || textsOf(file, trimmed)]
  })
}

/** @param {string} text */
function withoutBlocks(text) {
  return text.replaceAll(/^```.*?^```$/gms, block => block.replaceAll(/[^\n]/g, '')).split('\n')
}

/**
 * The title of a test, or in the source any text with a space in it: errors and lines of the log.
 *
 * @param {string} file
 * @param {string} line
 */
function textsOf(file, line) {
  if (line.startsWith('import ')) return ''
  const [, , title = ''] = /\b(?:it|test|describe)\((['"`])(.*?)\1/.exec(line) ?? []
  if (!file.startsWith('src/')) return title
  const texts = Array.from(line.matchAll(/`[^`]*`|'[^']*'/g), ([text]) => text.slice(1, -1))
  return texts.filter(text => text.includes(' ')).join(' | ')
}

/** @param {string} part @returns {string[]} */
function filesOf(part) {
  if (!statSync(join(root, part)).isDirectory()) return [part]
  return readdirSync(join(root, part), { recursive: true, encoding: 'utf8' })
    .map(file => join(part, file))
    .filter(file => /\.(?:ts|mjs|md)$/.test(file) && !LEFT_OUT.some(start => file.startsWith(start)))
    .sort()
}

const [option] = process.argv.slice(2)
/** @type {Map<string, number>} */
const counts = new Map()
for (const file of PARTS.flatMap(filesOf)) {
  for (const [number, line] of proseOf(file)) {
    const prose = line.replaceAll(/`[^`]*`/g, '`code`')
    for (const [word, instead] of WORDS) {
      const [found] = word.exec(prose) ?? []
      if (found === undefined) continue
      const folder = dirname(file)
      counts.set(folder, (counts.get(folder) ?? 0) + 1)
      if (option !== '--count')
        console.log(`${file}:${number}: "${found.trim()}": write ${instead}\n    ${line.trim()}`)
    }
  }
}
const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
if (option === '--count') for (const [folder, count] of [...counts].sort()) console.log(`${count}\t${folder}`)
console.log(`words: ${total} to rewrite`)
if (total > 0 && option === undefined) process.exitCode = 1
