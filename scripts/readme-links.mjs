// Makes the links of README.md absolute, by `repository` in package.json, and adds the badges that need one. For a publisher, once:
//
//     node scripts/readme-links.mjs
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const PICTURE = /\.(?:svg|png)$/

/**
 * @param {string} readme
 * @param {string} repository its address, as in `package.json`
 */
export function withAbsoluteLinks(readme, repository) {
  const [, owner, name] = /github\.com[/:]([\w.-]+)\/([\w.-]+?)(?:\.git)?$/.exec(repository) ?? []
  if (owner === undefined) throw new Error(`"repository" in package.json is not a repository at GitHub: ${repository}`)
  const github = `https://github.com/${owner}/${name}`
  const added = [
    '[![npm](https://img.shields.io/npm/v/asyncamqp)](https://www.npmjs.com/package/asyncamqp)',
    `[![checks](${github}/actions/workflows/checks.yml/badge.svg)](${github}/actions/workflows/checks.yml)`,
  ]
  return readme
    .replaceAll(/\]\((?!https:|#)([^)\s]+)\)/g, (_, /** @type {string} */ path) => {
      const base = PICTURE.test(path)
        ? `https://raw.githubusercontent.com/${owner}/${name}/main`
        : `${github}/blob/main`
      return `](${base}/${path})`
    })
    .replace(/^(# .*\n\n)(?=\[!\[Node)/, (_, /** @type {string} */ title) => `${title}${added.join(' ')} `)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = new URL('../', import.meta.url)
  const { repository } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
  const readme = new URL('README.md', root)
  writeFileSync(readme, withAbsoluteLinks(readFileSync(readme, 'utf8'), repository?.url ?? repository ?? ''))
}
