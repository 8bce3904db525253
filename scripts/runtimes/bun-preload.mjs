/**
 * Gives test files our own runner instead of `node:test`, which a plugin of Bun cannot replace.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { plugin } from 'bun'

const runner = JSON.stringify(fileURLToPath(new URL('node-test.mjs', import.meta.url)))

plugin({
  name: 'node:test',
  setup(build) {
    build.onLoad({ filter: /[/\\]build[/\\]test[/\\].*\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace(/from 'node:test'/, () => `from ${runner}`),
      loader: 'js',
    }))
  },
})
