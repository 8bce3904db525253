import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { SECTIONS } from '../sections.mjs'

const sidebarFile = fileURLToPath(new URL('../pages/reference/typedoc-sidebar.json', import.meta.url))
const reference = existsSync(sidebarFile) ? JSON.parse(readFileSync(sidebarFile, 'utf8')) : []

/** A static site: guides, the reference of all public names, a search that works offline, and a dark mode. */
// biome-ignore lint/style/noDefaultExport: VitePress reads the default export
export default {
  title: 'asyncamqp',
  description: 'An AMQP 0-9-1 client for RabbitMQ, in TypeScript',
  srcDir: 'pages',
  outDir: 'dist',
  cleanUrls: false,
  lastUpdated: false,
  // Links from guides to files of the source, which are no pages.
  ignoreDeadLinks: [/examples\//, /bench\//, /CONTRIBUTING/, /README/],
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      { text: 'Guides', link: '/guides/getting-started' },
      { text: 'Reference', link: '/reference/' },
    ],
    sidebar: {
      '/reference/': reference,
      '/': SECTIONS.map(({ title, guides }) => ({
        text: title,
        items: guides.map(([file, text]) => ({ text, link: `/guides/${file}` })),
      })),
    },
  },
}
