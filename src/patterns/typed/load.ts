let typed: Promise<typeof import('./typed.ts')> | undefined

/** Only programs with a `schema` or `codecs` load the code for them, once. */
export function loadTyped(): Promise<typeof import('./typed.ts')> {
  typed ??= import('./typed.ts')
  return typed
}
