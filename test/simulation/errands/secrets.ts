import { type Errand, NO_SERVER } from './errand.ts'
import { lose, QUICK } from './recoveries.ts'

/** Of a password function and a secret that the program gave since, the newer one is used, and if it is refused the other one. */
export const secrets: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  let answer = 'guest'
  let isSlow = false
  const password = async (): Promise<string> => {
    const given = answer
    if (!isSlow) return given
    await outing.sleep(20)
    protocol.updateSecret('latest', 'it was changed').catch(() => {})
    await outing.sleep(20)
    return given
  }
  const own = await connect({ password, recovery: QUICK })
  const { protocol } = own
  let failed = 0
  protocol.on('recoveryAttemptFailed', () => failed++)
  const expect = async (attempts: number, what: string): Promise<void> => {
    failed = 0
    await lose(outing, own)
    outing.equal(protocol.state, 'open', `the state with ${what}`)
    outing.equal(failed, attempts, `logins that are refused with ${what}`)
  }
  control.setPassword('pushed')
  await protocol.updateSecret('pushed', 'it was changed')
  await expect(0, 'a secret that was pushed')
  control.setPassword('newer')
  answer = 'newer'
  await expect(0, 'a newer answer')
  await expect(0, 'the same answer again')
  // It is pushed too early: the broker does not have it yet.
  await protocol.updateSecret('early', 'it will be changed')
  await expect(1, 'a secret that is refused')
  await expect(0, 'a secret that was refused')
  control.setPassword('early')
  await expect(1, 'a secret that was refused and is good now')
  // It is pushed while the function is asked: what that answers is older.
  answer = 'older'
  control.setPassword('latest')
  isSlow = true
  await expect(0, 'a secret that was pushed while the function was asked')
  isSlow = false
  // What nothing answers ends with its connection.
  own.freeze()
  const pushed = protocol.updateSecret('lost', 'it is lost').then(
    () => 'answered',
    (error: Error) => error.name,
  )
  await outing.sleep(5)
  own.cut()
  const ended = await Promise.race([pushed, outing.sleep(5_000)])
  outing.equal(ended, 'ConnectionLostError', 'the end of a secret without an answer')
}

/** A token that the broker refuses is followed by a new one at once, also if another server is gone. */
export const refusedToken: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  let asked = 0
  let secret = 'guest'
  const password = () => {
    asked++
    return { password: secret, expiresAt: outing.clock.wallTime() + 3_600_000 }
  }
  const servers =
    outing.number % 2 === 0 ? [`amqp://${NO_SERVER}`, 'amqp://one'] : ['amqp://one', `amqp://${NO_SERVER}`]
  const own = await connect({ servers, password, recovery: { initialDelay: 1, jitter: 0 } })
  const { protocol } = own
  for (let round = 2; round < 5; round++) {
    secret = `secret ${round}`
    control.setPassword(secret)
    own.cut()
    const began = outing.clock.now()
    await outing.until(() => asked === round, 'the question for a new token', 3_000)
    await protocol.ready({ timeout: 20_000 })
    outing.took(began, 0, 1_000, 'a recovery with a token that is refused')
    outing.equal(asked, round, 'tokens')
  }
}
