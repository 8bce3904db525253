// Makes the site in `site/dist`: guides from `docs`, the reference from the declarations in `dist`, and `llms.txt`.
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SECTIONS } from './sections.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = join(here, '..')
const pages = join(here, 'pages')
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'

/** @param {string} command @param {string[]} args */
function run(command, ...args) {
  execFileSync(command, args, { cwd: here, stdio: 'inherit' })
}

if (!existsSync(join(root, 'dist/index.d.ts'))) execFileSync(npm, ['run', 'build'], { cwd: root, stdio: 'inherit' })
if (!existsSync(join(here, 'node_modules/vitepress'))) run(npm, 'ci', '--no-audit', '--no-fund')

const known = SECTIONS.flatMap(({ guides }) => guides.map(([file]) => `${file}.md`))
const unknown = readdirSync(join(root, 'docs')).filter(file => file.endsWith('.md') && !known.includes(file))
if (unknown.length > 0) throw new Error(`sections.mjs does not name ${unknown.join(', ')}`)

rmSync(pages, { recursive: true, force: true })
mkdirSync(pages)
cpSync(join(root, 'docs'), join(pages, 'guides'), { recursive: true })
// The front page is the README. Its links to guides lead to their pages, and its picture comes along.
mkdirSync(join(pages, 'bench/results'), { recursive: true })
cpSync(join(root, 'bench/results/benchmark.svg'), join(pages, 'bench/results/benchmark.svg'))
const readme = readFileSync(join(root, 'README.md'), 'utf8')
writeFileSync(join(pages, 'index.md'), readme.replaceAll('](docs/', '](guides/').replace('](bench/', '](./bench/'))

run(process.execPath, join(here, 'node_modules/typedoc/bin/typedoc'))
run(process.execPath, join(here, 'node_modules/vitepress/bin/vitepress.js'), 'build')

const lines = SECTIONS.flatMap(({ title, guides }) => [
  '',
  `## ${title}`,
  '',
  ...guides.map(([file, text, about]) => `- [${text}](guides/${file}.html): ${about}`),
])
const [, summary = ''] = /^# asyncamqp\n\n([\s\S]*?)\n\n/.exec(readme) ?? []
writeFileSync(
  join(here, 'dist/llms.txt'),
  ['# asyncamqp', '', `> ${summary.replaceAll('\n', ' ')}`, ...lines, ''].join('\n'),
)
console.log(`the site is in ${basename(here)}/dist`)
