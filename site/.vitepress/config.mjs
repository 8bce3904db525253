import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { SECTIONS } from '../sections.mjs'

const sidebarFile = fileURLToPath(new URL('../pages/reference/typedoc-sidebar.json', import.meta.url))
/** @type {{ text: string, link: string, items: object[] }[]} */
const entries = existsSync(sidebarFile) ? JSON.parse(readFileSync(sidebarFile, 'utf8')) : []
/** As programs import it. @param {string} text */
const nameOf = text => (text === 'asyncamqp' ? text : `asyncamqp/${text}`)
const toEntries = entries.map(({ text, link }) => ({ text: nameOf(text), link }))

const ICON =
  'data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M1 8h10M8 4l4 4-4 4" fill="none" stroke="%23f60" stroke-width="3"/></svg>'

/** @param {string} heading */
function slugify(heading) {
  return heading
    .toLowerCase()
    .replaceAll(/[^\w -]/g, '')
    .replaceAll(' ', '-')
}

/** A static site: guides, the reference of all public names, a search that works offline, and a dark mode. */
// biome-ignore lint/style/noDefaultExport: VitePress reads the default export
export default {
  title: 'asyncamqp',
  description: 'An AMQP 0-9-1 client for RabbitMQ, in TypeScript',
  srcDir: 'pages',
  outDir: 'dist',
  cleanUrls: false,
  lastUpdated: false,
  head: [['link', { rel: 'icon', href: ICON }]],
  // Anchors as on GitHub, so that links between guides hold in both places.
  markdown: { anchor: { slugify }, languageAlias: { mjs: 'javascript' } },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      { text: 'Guides', link: '/guides/getting-started' },
      { text: 'Reference', link: '/reference/' },
    ],
    sidebar: {
      // Each entry's own names only: a list of all would be most of every page.
      ...Object.fromEntries(
        entries.map(({ text, link, items }) => [
          link,
          [
            { text: 'Entries', items: toEntries },
            { text, items },
          ],
        ]),
      ),
      '/reference/': [{ text: 'Entries', items: toEntries }],
      '/': SECTIONS.map(({ title, guides }) => ({
        text: title,
        items: guides.map(([file, text]) => ({ text, link: `/guides/${file}` })),
      })),
    },
  },
}
