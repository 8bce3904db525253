const BLOCK = /^```(ts|typescript|js|javascript)\n(.*?)^```$/gms

/** The TypeScript and JavaScript blocks of a Markdown text, in their order. */
export function codeBlocks(markdown: string): string[] {
  return Array.from(markdown.matchAll(BLOCK), match => match[2] ?? '')
}

/** What a fragment of a guide may use as if the text had connected before. */
const GIVEN = {
  protocol: "import('asyncamqp').AmqpProtocol",
  channel: "import('asyncamqp').Channel",
} as const
/** What an example of the reference may use, too. */
export const GIVEN_IN_REFERENCE = {
  ...GIVEN,
  publisher: "import('asyncamqp').Publisher",
  consumer: "import('asyncamqp').Consumer",
  message: "import('asyncamqp').Message",
  client: "import('asyncamqp').RpcClient",
  server: "import('asyncamqp').RpcServer",
  broker: "import('asyncamqp/testing').Broker",
} as const

/** A fragment, made a module, in which the names of `given` are declared. */
export function asModule(fragment: string, given: Readonly<Record<string, string>> = GIVEN): string {
  const missing = Object.entries(given).filter(
    ([name]) =>
      new RegExp(`\\b${name}\\b`).test(fragment) &&
      !new RegExp(`\\b(?:const|using) (?:\\{ value: )?${name}\\b`).test(fragment),
  )
  const declared = missing.map(([name, type]) => `declare const ${name}: ${type}\n`)
  return `${declared.join('')}${fragment}\nexport {}\n`
}
