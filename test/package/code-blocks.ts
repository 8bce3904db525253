const BLOCK = /^```(ts|typescript|js|javascript)\n(.*?)^```$/gms

/** The TypeScript and JavaScript blocks of a Markdown text, in their order. */
export function codeBlocks(markdown: string): string[] {
  return Array.from(markdown.matchAll(BLOCK), match => match[2] ?? '')
}

/** A fragment, made a module: it may use `protocol` and `channel` as if the text had connected before. */
export function asModule(fragment: string): string {
  const given = [
    ['protocol', 'AmqpProtocol'],
    ['channel', 'Channel'],
  ] as const
  const missing = given.filter(
    ([name]) => new RegExp(`\\b${name}\\b`).test(fragment) && !new RegExp(`\\b(const|using) ${name}\\b`).test(fragment),
  )
  const declared = missing.map(([name, type]) => `declare const ${name}: import('asyncamqp').${type}\n`)
  return `${declared.join('')}${fragment}\nexport {}\n`
}
