/** Says what runs now, and for about how long still: in one line that changes, or in a log in a line now and then. */
export function progressLine(stream: NodeJS.WriteStream): (done: number, all: number, what: string) => void {
  const start = performance.now()
  let lastLogged = Number.NEGATIVE_INFINITY
  return (done, all, what) => {
    const now = performance.now()
    const left = done > 0 ? `, about ${duration(((now - start) / done) * (all - done))} left` : ''
    const line = `[${done}/${all}${left}] ${what}`
    if (stream.isTTY) {
      stream.write(`\r\x1b[K${line.slice(0, stream.columns - 1)}${done === all ? '\n' : ''}`)
    } else if (now - lastLogged > 10_000 || done === all) {
      lastLogged = now
      stream.write(`${line}\n`)
    }
  }
}

function duration(millis: number): string {
  const seconds = Math.round(millis / 1000)
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}
