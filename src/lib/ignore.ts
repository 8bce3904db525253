/** Takes the result or the error of a promise that nobody needs. */
export function ignore(): void {}
