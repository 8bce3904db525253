/** For a promise whose result or error is not needed. */
export function ignore(): void {}
