import { FrameError } from '../errors.ts'
import { decodeTable } from '../protocol/field-table.ts'
import { Reader } from '../protocol/reader.ts'
import type { FieldTable } from '../protocol/values.ts'
import { accessRefused, resource } from './refusals.ts'
import type { Release } from './release.ts'
import type { Permissions, UserOptions } from './user-options.ts'

export type Access = 'configure' | 'write' | 'read'

/** A user of the broker. */
export class User {
  readonly name: string
  #password: string
  #permissions: Readonly<Record<string, Permissions>> | undefined

  constructor(name: string, { password, permissions }: UserOptions) {
    this.name = name
    this.#password = password
    this.#permissions = permissions
  }

  change({ password, permissions }: UserOptions): void {
    this.#password = password
    this.#permissions = permissions
  }

  hasPassword(password: string): boolean {
    return this.#password === password
  }

  /** Whether the user may open a connection to a virtual host. */
  mayEnter(vhost: string): boolean {
    return this.#permissions === undefined || Object.hasOwn(this.#permissions, vhost)
  }

  may(access: Access, name: string, vhost: string): boolean {
    if (this.#permissions === undefined) return true
    const pattern = this.#permissions[vhost]?.[access] ?? ''
    return pattern === '' ? name === '' : new RegExp(pattern, 'u').test(name)
  }

  /** @throws Refusal (403) where the user may not. */
  check(access: Access, kind: 'queue' | 'exchange', name: string, vhost: string, release: Release): void {
    const known = kind === 'exchange' && name === '' ? 'amq.default' : name
    if (this.may(access, known, vhost)) return
    const what = release.namesPermission ? `${access} access` : 'access'
    throw accessRefused(`${what} to ${resource(kind, known, vhost)} refused for user '${this.name}'`)
  }

  /** A passive declare needs any of the three, or none. */
  checkAny(kind: 'queue' | 'exchange', name: string, vhost: string, release: Release): void {
    if (!release.checksPassive || this.may('read', name, vhost) || this.may('write', name, vhost)) return
    this.check('configure', kind, name, vhost, release)
  }
}

/** A name and a password, as a client gave them. */
export interface Credentials {
  readonly login: string
  readonly password: string
}

/** The user that a client's answer to connection.start names; undefined if it cannot be read. */
export function readCredentials(mechanism: string, response: Buffer): Credentials | undefined {
  if (mechanism === 'ANONYMOUS') return { login: 'guest', password: 'guest' }
  if (mechanism === 'PLAIN') {
    const [other, login, password, more] = response.toString().split('\0')
    // No client may log in for another user.
    if (other !== '' || login === undefined || password === undefined || more !== undefined) return undefined
    return { login, password }
  }
  const { LOGIN: login, PASSWORD: password } = readTable(response)
  return typeof login === 'string' && typeof password === 'string' ? { login, password } : undefined
}

/** A table without its length; empty if it is none. */
function readTable(entries: Buffer): FieldTable {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(entries.length)
  try {
    return decodeTable(new Reader(Buffer.concat([length, entries]), 0, entries.length + 4))
  } catch (error) {
    if (error instanceof FrameError) return {}
    throw error
  }
}
