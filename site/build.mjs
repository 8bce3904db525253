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

/**
 * What is in the source and not in the site is named, without a link.
 *
 * @param {string} markdown
 * @param {string} folder that its links start from
 */
function withoutSourceLinks(markdown, folder) {
  return markdown.replaceAll(/(?<!!)\[([^\]]+)\]\(([^)\s]*[./][^)\s]*)\)/g, (link, text, target) => {
    if (/^(?:https:(?!.*\/blob\/main\/)|#)/.test(target)) return link
    return existsSync(join(folder, target.replace(/#.*/, ''))) ? link : text
  })
}

/** They would ask another server. @param {string} markdown */
function withoutBadges(markdown) {
  return markdown.replaceAll(/^\[?!\[[^\]]*\]\(https:.*\n/gm, '')
}

if (!existsSync(join(root, 'dist/index.d.ts'))) execFileSync(npm, ['run', 'build'], { cwd: root, stdio: 'inherit' })
if (!existsSync(join(here, 'node_modules/vitepress'))) run(npm, 'ci', '--no-audit', '--no-fund')

const known = SECTIONS.flatMap(({ guides }) => guides.map(([file]) => `${file}.md`))
const unknown = readdirSync(join(root, 'docs')).filter(file => file.endsWith('.md') && !known.includes(file))
if (unknown.length > 0) throw new Error(`sections.mjs does not name ${unknown.join(', ')}`)

rmSync(pages, { recursive: true, force: true })
mkdirSync(pages)
cpSync(join(root, 'docs'), join(pages, 'guides'), { recursive: true })
for (const file of known) {
  const guide = readFileSync(join(pages, 'guides', file), 'utf8')
  writeFileSync(join(pages, 'guides', file), withoutSourceLinks(guide, join(pages, 'guides')))
}
// The front page is the README. Its links to guides lead to their pages, and its picture comes along.
mkdirSync(join(pages, 'bench/results'), { recursive: true })
cpSync(join(root, 'bench/results/benchmark.svg'), join(pages, 'bench/results/benchmark.svg'))
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const front = readme
  .replaceAll(/\]\((?:https:[^)\s]*\/blob\/main\/)?docs\//g, '](guides/')
  .replace(/\]\((?:https:[^)\s]*\/main\/)?bench\//, '](./bench/')
writeFileSync(join(pages, 'index.md'), withoutSourceLinks(withoutBadges(front), pages))

run(process.execPath, join(here, 'node_modules/typedoc/bin/typedoc'))
cpSync(join(here, 'reference/front.md'), join(pages, 'reference/index.md'))
run(process.execPath, join(here, 'node_modules/vitepress/bin/vitepress.js'), 'build')

const lines = SECTIONS.flatMap(({ title, guides }) => [
  '',
  `## ${title}`,
  '',
  ...guides.map(([file, text, about]) => `- [${text}](guides/${file}.html): ${about}`),
])
lines.push(
  '',
  '## Reference',
  '',
  '- [all public names](reference/index.html): classes, functions, options and errors, by entry of the package',
)
const [, summary = ''] = /^# asyncamqp\n\s*([\s\S]*?)\n\n/.exec(withoutBadges(readme)) ?? []
writeFileSync(
  join(here, 'dist/llms.txt'),
  ['# asyncamqp', '', `> ${summary.replaceAll('\n', ' ')}`, ...lines, ''].join('\n'),
)
console.log(`the site is in ${basename(here)}/dist`)
if (process.argv.includes('--check')) run(process.execPath, join(here, 'check.mjs'), ...process.argv.slice(3))
