// Opens every page of `site/dist` in Chromium, in a narrow window, and looks for what is wrong with it.
//
//     node site/check.mjs [FOLDER]      with a folder, screenshots of some pages go there
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findChromium } from '../scripts/chromium.mjs'
import { Browser } from './browser.mjs'

const dist = fileURLToPath(new URL('dist', import.meta.url))
const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
}
const NARROW = /** @type {const} */ ([390, 844])
const WIDE = /** @type {const} */ ([1440, 900])
const SHOWN = [
  'index.html',
  'guides/consuming.html',
  'guides/faults.html',
  'guides/connecting.html',
  'reference/index.html',
]
const SHOWN_REFERENCE = ['classes/Channel.html', 'interfaces/ConnectOptions.html']

/** What a page has to say of itself. */
const LOOK = `({
  links: Array.from(document.querySelectorAll('a[href]'), a => a.href),
  ids: Array.from(document.querySelectorAll('[id]'), each => each.id),
  overflow: document.documentElement.scrollWidth - innerWidth,
  title: document.title,
  images: Array.from(document.images).filter(image => image.complete && image.naturalWidth === 0).map(image => image.src),
})`

const pages = readdirSync(dist, { recursive: true, encoding: 'utf8' })
  .filter(file => file.endsWith('.html') && file !== '404.html')
  .sort()

const site = createServer((request, response) => {
  const { pathname } = new URL(request.url ?? '/', 'http://localhost')
  const path = decodeURIComponent(pathname.endsWith('/') ? `${pathname}index.html` : pathname)
  try {
    const body = readFileSync(join(dist, path))
    const type = TYPES[/** @type {keyof typeof TYPES} */ (extname(path))] ?? 'application/octet-stream'
    response.writeHead(200, { 'content-type': type }).end(body)
  } catch {
    response.writeHead(404).end()
  }
})

/** @type {string[]} */
const faults = []
/** The ids of each page, and the links to check when all are known. @type {Map<string, Set<string>>} */
const ids = new Map()
/** @type {[from: string, link: URL][]} */
const links = []

/** @param {Browser} browser @param {string} origin */
async function openAll(browser, origin) {
  let page = ''
  browser.onEvent(({ method, params }) => {
    const url = params.request?.url ?? ''
    if (method === 'Network.requestWillBeSent' && !url.startsWith(origin) && !/^(?:data|blob|about):/.test(url))
      faults.push(`${page}: asks ${url}`)
    if (method === 'Network.responseReceived' && params.response.status >= 400)
      faults.push(`${page}: ${params.response.status} of ${params.response.url}`)
    if (method === 'Runtime.exceptionThrown') faults.push(`${page}: ${params.exceptionDetails.exception?.description}`)
    if (method === 'Runtime.consoleAPICalled' && ['error', 'warning', 'assert'].includes(params.type))
      faults.push(`${page}: ${params.args.map((/** @type {any} */ arg) => arg.value ?? arg.description).join(' ')}`)
    if (method === 'Log.entryAdded' && params.entry.level === 'error') faults.push(`${page}: ${params.entry.text}`)
  })
  await browser.resize(...NARROW)
  for (page of pages) {
    await browser.open(`${origin}/${page}`)
    const { links: found, ids: here, overflow, title, images } = await browser.evaluate(LOOK)
    ids.set(`/${page}`, new Set(here))
    for (const link of new Set(found)) links.push([page, new URL(link)])
    if (overflow > 0) faults.push(`${page}: ${overflow} pixels wider than a window of ${NARROW[0]}`)
    if (title === '') faults.push(`${page}: has no title`)
    for (const image of images) faults.push(`${page}: no picture at ${image}`)
  }
}

/** @param {string} origin */
function checkLinks(origin) {
  for (const [from, link] of links) {
    if (link.origin !== origin) {
      if (link.protocol !== 'https:') faults.push(`${from}: leads to ${link}`)
      continue
    }
    const path = link.pathname.endsWith('/') ? `${link.pathname}index.html` : link.pathname
    const target = ids.get(path)
    const id = decodeURIComponent(link.hash.slice(1))
    if (target === undefined) faults.push(`${from}: there is no page ${path}`)
    else if (id !== '' && !target.has(id)) faults.push(`${from}: there is no #${id} in ${path}`)
  }
}

/** @param {string} origin */
async function checkLlmsText(origin) {
  const text = await (await fetch(`${origin}/llms.txt`)).text()
  const targets = Array.from(text.matchAll(/\]\(([^)]+)\)/g), ([, target = '']) => target)
  if (targets.length < 20) faults.push(`llms.txt: has ${targets.length} links`)
  for (const target of targets) if (!ids.has(`/${target}`)) faults.push(`llms.txt: there is no page ${target}`)
}

/** The search has its index here: nothing else is asked. @param {Browser} browser @param {string} origin */
async function checkSearch(browser, origin) {
  await browser.resize(...WIDE)
  await browser.open(`${origin}/index.html`)
  await browser.evaluate("document.querySelector('#local-search button').click()")
  await browser.until("document.querySelector('.VPLocalSearchBox input') !== null")
  await browser.evaluate(`(() => {
    const input = document.querySelector('.VPLocalSearchBox input')
    input.value = 'queueDeclare'
    input.dispatchEvent(new Event('input'))
  })()`)
  await browser.until("document.querySelectorAll('.VPLocalSearchBox .result').length > 0")
  const results = await browser.evaluate(
    "Array.from(document.querySelectorAll('.VPLocalSearchBox .result'), each => each.textContent.trim() + ' ' + each.href)",
  )
  if (!results.some((/** @type {string} */ each) => /queueDeclare.*\/reference\//is.test(each)))
    faults.push(`the search for queueDeclare finds ${results.join('; ')}`)
}

/** @param {Browser} browser @param {string} origin */
async function checkDarkMode(browser, origin) {
  await browser.open(`${origin}/guides/publishing.html`)
  const look = `(() => {
    const bright = color => color.match(/\\d+/g).slice(0, 3).reduce((sum, each) => sum + Number(each), 0) / 3
    const style = getComputedStyle(document.querySelector('.vp-doc h1'))
    return { page: bright(getComputedStyle(document.body).backgroundColor), text: bright(style.color) }
  })()`
  const light = await browser.evaluate(look)
  await browser.evaluate("document.querySelector('.VPSwitchAppearance').click()")
  await browser.until("document.documentElement.classList.contains('dark')")
  await browser.until(`(${look}).page < 60`)
  const dark = await browser.evaluate(look)
  if (!(light.page > 200 && light.text < 120)) faults.push(`light mode: ${JSON.stringify(light)}`)
  if (!(dark.text > 180)) faults.push(`dark mode: ${JSON.stringify(dark)}`)
}

/** Dark is on by now. @param {Browser} browser @param {string} origin @param {string} folder */
async function takeScreenshots(browser, origin, folder) {
  mkdirSync(folder, { recursive: true })
  const shown = [...SHOWN, ...pages.filter(page => SHOWN_REFERENCE.some(each => page.endsWith(each)))]
  for (const mode of ['dark', 'light']) {
    for (const [name, size] of /** @type {const} */ ([
      ['narrow', NARROW],
      ['wide', WIDE],
    ])) {
      await browser.resize(...size)
      for (const page of shown) {
        await browser.open(`${origin}/${page}`)
        await browser.screenshot(join(folder, `${mode}-${name}-${page.replaceAll('/', '-').replace('.html', '.png')}`))
      }
    }
    await browser.evaluate("document.querySelector('.VPSwitchAppearance').click()")
  }
}

const chromium = findChromium()
if (chromium === undefined) {
  console.log('the site is not checked: there is no Chromium (npm test -- --install installs it, as root on Debian)')
} else {
  await new Promise(resolve => site.listen(0, '127.0.0.1', () => resolve(undefined)))
  const address = /** @type {import('node:net').AddressInfo} */ (site.address())
  const origin = `http://127.0.0.1:${address.port}`
  const browser = new Browser(chromium)
  try {
    await browser.connect()
    await openAll(browser, origin)
    checkLinks(origin)
    await checkLlmsText(origin)
    await checkSearch(browser, origin)
    await checkDarkMode(browser, origin)
    const [folder] = process.argv.slice(2)
    if (folder !== undefined) await takeScreenshots(browser, origin, folder)
  } finally {
    await browser.close()
    site.close()
    site.closeAllConnections()
  }
  for (const fault of new Set(faults)) console.log(fault)
  console.log(`the site: ${pages.length} pages and ${links.length} links, ${faults.length} faults`)
  if (faults.length > 0) process.exitCode = 1
}
