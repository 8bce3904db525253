/**
 * Chromium, for the tests of the package in a page.
 */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { canInstallDebianPackages, installDebianPackages } from './broker/installation.mjs'

const names = ['chromium', 'chromium-browser', 'google-chrome']

/** @returns {string | undefined} the path of its binary */
export function findChromium() {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  return folders.flatMap(folder => names.map(name => join(folder, name))).find(file => existsSync(file))
}

/**
 * Installs Debian's package if there is none, as root. Tests can do without.
 *
 * @param {import('./broker/types.d.ts').Log} log
 */
export function installChromium(log) {
  if (findChromium() !== undefined || !canInstallDebianPackages()) return
  log('installing Chromium')
  try {
    installDebianPackages(['chromium'], log)
  } catch (error) {
    log(String(error))
  }
}
