import { buildPackage, buildTests, checkNodeVersion, installDependencies } from '../scripts/prepare.mjs'

/**
 * Builds the package, which is what is measured, and the benchmarks.
 *
 * @param {(line: string) => void} log
 */
export async function prepare(log) {
  checkNodeVersion()
  await installDependencies(log)
  await buildPackage(log)
  await buildTests(log)
}
