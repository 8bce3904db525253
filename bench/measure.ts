import { PerformanceObserver } from 'node:perf_hooks'
import { setImmediate as turn } from 'node:timers/promises'

/** Least time of a warm-up, in milliseconds; either is enough. */
const WARM_UP = { cpu: 200, wall: 600 }

/** How long something lasts, in milliseconds: whichever limit is reached first. */
interface Limits {
  readonly cpu: number
  readonly wall: number
}

/** How long a measurement lasts. */
export interface Budget extends Limits {
  /**
   * The warm-up goes on until these messages or one of these times, since V8 compiles what has run often, and not
   * what has run long: of operations that take a while, a short warm-up leaves that to the measured span.
   */
  readonly warmUp: Limits & { readonly messages: number }
}

export interface Measurement {
  readonly messages: number
  /** User and system time of this process, in microseconds a message. */
  readonly cpuMicros: number
  readonly wallMicros: number
  /** Share of the wall time spent in garbage collection. */
  readonly gcShare: number
}

interface Usage {
  readonly cpuMillis: number
  readonly wallMillis: number
}

function usageSince(cpu: NodeJS.CpuUsage, start: number): Usage {
  const used = process.cpuUsage(cpu)
  return { cpuMillis: (used.user + used.system) / 1000, wallMillis: performance.now() - start }
}

async function timed(run: () => Promise<void>): Promise<Usage> {
  const cpu = process.cpuUsage()
  const start = performance.now()
  await run()
  return usageSince(cpu, start)
}

/**
 * Warms up, then measures as many messages as fill the budget. `total` counts what was really done: a consumer is given
 * more than it asked for.
 */
export async function measure(
  run: (count: number) => Promise<void>,
  total: () => number,
  budget: Budget,
  multiple = 1,
): Promise<Measurement> {
  const count = await warmUp(run, budget, multiple)
  return measureSpan(() => run(count), total)
}

/**
 * Runs batches that grow until one is long enough to show the rate. Returns how many messages fill the budget at that
 * rate.
 */
export async function warmUp(run: (count: number) => Promise<void>, budget: Budget, multiple = 1): Promise<number> {
  let count = multiple * Math.max(1, Math.ceil(20 / multiple))
  // The first batches are cold, and a stall in one of them says nothing of the rate.
  const warm = { messages: 0, cpuMillis: 0, wallMillis: 0 }
  for (let batch = 1; ; batch += 1) {
    const usage = await timed(() => run(count))
    const share = Math.max(usage.cpuMillis / budget.cpu, usage.wallMillis / budget.wall)
    warm.messages += count
    warm.cpuMillis += usage.cpuMillis
    warm.wallMillis += usage.wallMillis
    const isLong = warm.cpuMillis >= WARM_UP.cpu || warm.wallMillis >= WARM_UP.wall
    const { messages, cpu, wall } = budget.warmUp
    const isSettled = warm.messages >= messages || warm.cpuMillis >= cpu || warm.wallMillis >= wall
    const isWarm = batch > 2 && isLong && isSettled
    if (share >= 0.3 && isWarm) return Math.max(1, Math.round(count / share / multiple)) * multiple
    if (share < 0.3) count *= share < 0.03 ? 4 : 2
  }
}

/** Measures one span of work. */
export async function measureSpan(run: () => Promise<void>, total: () => number): Promise<Measurement> {
  const collections: { readonly startTime: number; readonly duration: number }[] = []
  const observer = new PerformanceObserver(list => {
    for (const { startTime, duration } of list.getEntries()) collections.push({ startTime, duration })
  })
  observer.observe({ entryTypes: ['gc'] })
  const before = total()
  const start = performance.now()
  const usage = await timed(run)
  const messages = total() - before
  const end = performance.now()
  await turn()
  await turn()
  observer.disconnect()
  const gcMillis = collections
    .filter(each => each.startTime >= start && each.startTime < end)
    .reduce((sum, each) => sum + each.duration, 0)
  return {
    messages,
    cpuMicros: (usage.cpuMillis * 1000) / messages,
    wallMicros: (usage.wallMillis * 1000) / messages,
    gcShare: gcMillis / usage.wallMillis,
  }
}
