import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { PasswordFunction } from '../../../src/connection/settings/auth.ts'
import { Secrets } from '../../../src/connection/settings/secrets.ts'

const ask = async (password: PasswordFunction): Promise<string> => (await password()) as string

describe('Secrets', () => {
  it('take what the program gave, until it pushes a newer one', async () => {
    const secrets = new Secrets()
    assert.equal(await secrets.current('given', ask), 'given')
    secrets.push('pushed')
    assert.equal(await secrets.current('given', ask), 'pushed')
  })

  it('ask a function at each login, whatever was pushed, and take the newer of both', async () => {
    const secrets = new Secrets()
    const answers = ['one', 'one', 'two', 'two']
    let asked = 0
    const password = (): string => answers[asked++] ?? 'none'
    assert.equal(await secrets.current(password, ask), 'one')
    secrets.push('pushed')
    assert.equal(await secrets.current(password, ask), 'pushed', 'the function says what it said before')
    assert.equal(await secrets.current(password, ask), 'two', 'the function has another one since')
    assert.equal(await secrets.current(password, ask), 'two')
    assert.equal(asked, 4)
  })

  it('prefer a secret that is pushed while the function is being asked', async () => {
    const secrets = new Secrets()
    let answer: (password: string) => void = () => {}
    const current = secrets.current(
      () =>
        new Promise(resolve => {
          answer = resolve
        }),
      ask,
    )
    secrets.push('pushed')
    answer('asked for before')
    assert.equal(await current, 'pushed')
  })

  it('try the other one after each refusal, and forget refusals with the next push', async () => {
    const secrets = new Secrets()
    secrets.push('expired')
    secrets.refused()
    assert.equal(await secrets.current('given', ask), 'given')
    secrets.refused()
    assert.equal(await secrets.current('given', ask), 'expired')
    secrets.refused()
    secrets.push('fresh')
    assert.equal(await secrets.current('given', ask), 'fresh')
  })

  it('fail as the function fails', async () => {
    const secrets = new Secrets()
    secrets.push('pushed')
    await assert.rejects(
      secrets.current(() => {
        throw new Error('no token')
      }, ask),
      /no token/,
    )
  })
})
