import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'

/**
 * Brings the tests of a repository into a project: from a clone, or from GitHub.
 *
 * @param {import('./rows.mjs').Sources} sources
 * @param {string} project
 * @param {string | undefined} clones a folder with clones, named as the repositories
 * @param {import('../broker/types.d.ts').Log} log
 */
export async function getSources({ repository, commit, folders }, project, clones, log) {
  const clone = clones === undefined ? undefined : resolve(clones, basename(repository))
  const wanted = Object.keys(folders)
  const scratch = mkdtempSync(join(tmpdir(), 'asyncamqp-sources-'))
  try {
    if (clone !== undefined && existsSync(clone)) {
      log(`taking ${wanted.join(', ')} of ${repository} from ${clone}`)
      const archive = execFileSync('git', ['-C', clone, 'archive', commit, ...wanted], { maxBuffer: 2 ** 28 })
      execFileSync('tar', ['-x', '-C', scratch], { input: archive })
    } else {
      log(`taking ${wanted.join(', ')} of ${repository} from GitHub`)
      const archive = await download(`https://codeload.github.com/${repository}/tar.gz/${commit}`)
      execFileSync('tar', ['-xz', '--strip-components=1', '-C', scratch], { input: archive })
    }
    for (const [from, to] of Object.entries(folders)) {
      cpSync(join(scratch, from), join(project, to), { recursive: true })
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/**
 * @param {string} url
 * @returns {Promise<Buffer>}
 */
async function download(url) {
  try {
    const response = await fetch(url)
    if (!response.ok) throw new Error(`it answered ${response.status}`)
    return Buffer.from(await response.arrayBuffer())
  } catch (error) {
    const reason = error instanceof Error ? (error.cause ?? error.message) : error
    throw new Error(
      `${url} cannot be had (${reason}): its tests are not on npm. On a machine without GitHub, --sources names a folder with clones.`,
    )
  }
}
