/**
 * Builds the package into an emptied dist: `npm run build`, and before it is packed.
 */
import { buildPackage } from './prepare.mjs'

try {
  await buildPackage(line => console.log(`build: ${line}`))
} catch (error) {
  console.error(`build: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}
