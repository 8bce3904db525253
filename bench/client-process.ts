/** Measures one client doing one task, in a process of its own, and reports to the process that started it. */
import { existsSync, readFileSync } from 'node:fs'
import type { Client, ClientName } from './clients/client.ts'
import type { Work } from './rows.ts'
import type { Task, TaskResult } from './task.ts'
import { burst } from './work/burst.ts'
import { call } from './work/call.ts'
import { connections } from './work/connections.ts'
import { consume, keep } from './work/consume.ts'
import { held } from './work/held.ts'
import { lateness } from './work/lateness.ts'
import { load } from './work/load.ts'
import { channel, connect, declare, firstConfirm } from './work/openings.ts'
import { publish } from './work/publish.ts'
import { shortProgram } from './work/short-program.ts'
import { turns } from './work/turns.ts'
import type { Perform } from './work/work.ts'

const performers: { readonly [work in Exclude<Work, 'load' | 'in memory' | 'short program'>]: Perform } = {
  publish,
  confirm: publish,
  burst,
  consume,
  keep,
  call,
  lateness,
  declare,
  channel,
  connect,
  'first confirm': firstConfirm,
  connections,
  turns,
  held,
}

/** Only the client that is measured is loaded. */
async function clientOf(name: ClientName): Promise<Client> {
  switch (name) {
    case 'floor':
      return (await import('./clients/floor.ts')).client
    case 'prototype':
      return (await import('./clients/prototype.ts')).client
    case 'asyncamqp':
      return (await import('./clients/asyncamqp.ts')).client
    case 'intent level':
      return (await import('./clients/intent.ts')).client
    case 'amqplib':
      return (await import('./clients/amqplib.ts')).client
    case '@cloudamqp/amqp-client':
      return (await import('./clients/amqp-client.ts')).client
    case 'rabbitmq-client':
      return (await import('./clients/rabbitmq-client.ts')).client
  }
}

/** Of this process alone: Linux starts `maxRSS` with that of the process which started this one. */
function peakKiB(): number {
  const status = existsSync('/proc/self/status') ? readFileSync('/proc/self/status', 'utf8') : ''
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]
  return peak === undefined ? process.resourceUsage().maxRSS : Number(peak)
}

async function perform(): Promise<TaskResult> {
  const { work } = task.row
  if (work === 'load') return load(task)
  if (work === 'short program') return shortProgram(() => clientOf(task.client), task)
  if (work === 'in memory') return (await import('./work/in-memory.ts')).inMemory(task)
  return performers[work](await clientOf(task.client), task)
}

const task: Task = JSON.parse(process.argv[2] ?? '')
const result = await perform()
const report: TaskResult = {
  ...result,
  peakMiB: peakKiB() / 1024,
}
process.send?.({ result: report }, () => process.exit())
