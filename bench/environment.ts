import { readFileSync } from 'node:fs'
import { cpus, release, type } from 'node:os'
import { join } from 'node:path'

/** What the figures hold for. */
export interface Environment {
  readonly date: string
  readonly node: string
  readonly rabbitmq: string
  readonly cpu: string
  readonly cores: number
  readonly system: string
  readonly versions: { readonly [client: string]: string }
}

const packages = ['amqplib', '@cloudamqp/amqp-client', 'rabbitmq-client']

export function describeEnvironment(root: string, rabbitmq: string | undefined): Environment {
  const versionIn = (path: string): string => JSON.parse(readFileSync(join(root, path, 'package.json'), 'utf8')).version
  const versions = packages.map(name => [name, versionIn(join('node_modules', name))] as const)
  return {
    date: new Date().toISOString().slice(0, 10),
    node: process.versions.node,
    rabbitmq: rabbitmq ?? 'none',
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    system: `${type()} ${release()}`,
    versions: { asyncamqp: versionIn('.'), ...Object.fromEntries(versions) },
  }
}

export function environmentLines(environment: Environment): string[] {
  const { node, rabbitmq, cpu, cores, system, date, versions } = environment
  const clients = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  return [clients.join(', '), `Node.js ${node}, RabbitMQ ${rabbitmq}, ${cpu} (${cores} cores), ${system}, ${date}`]
}
