/** What is used here of the module that Bun has built in. */
declare module 'bun' {
  interface Build {
    onLoad(where: { filter: RegExp }, load: (file: { path: string }) => { contents: string; loader: 'js' }): void
  }
  export function plugin(plugin: { name: string; setup(build: Build): void }): void
}
