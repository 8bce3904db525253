import { CloseReason } from '../channel/close-reason.ts'
import { describeReply } from '../channel/rabbitmq.ts'
import {
  AmqpError,
  AuthenticationError,
  ConnectionClosedError,
  ConnectionFailedError,
  ConnectionLostError,
  type FrameError,
  type LossReason,
  type ProtocolError,
} from '../errors.ts'
import { atNoCall } from '../lib/call-site.ts'
import { methodName } from '../protocol/methods.ts'

/** The server closed the connection (connection.close). */
export function closedByServer(
  server: string,
  replyCode: number,
  replyText: string,
  classId: number,
  methodId: number,
): CloseReason {
  const reason = describeReply(replyCode, replyText)
  const because = classId === 0 ? '' : ` because of ${methodName(classId, methodId)}`
  const text = `the connection to ${server} was closed by the server${because}: ${reason}`
  const details = { replyCode, replyText, classId, methodId }
  const error = atNoCall(new ConnectionClosedError(text, details))
  return new CloseReason({
    scope: 'connection',
    error,
    methodKey: ((classId << 16) | methodId) >>> 0,
    replyText,
    makeError: (what, atFault, outcome) =>
      new ConnectionClosedError(
        atFault ? `${what} failed: ${reason}; the connection to ${server} is closed` : `${what} failed: ${text}`,
        { ...details, outcome, cause: error },
      ),
  })
}

/** The program closed the connection. */
export function closedByProgram(server: string): CloseReason {
  const text = `the connection to ${server} was closed by the program`
  return new CloseReason({
    scope: 'connection',
    error: undefined,
    makeError: (what, _atFault, outcome) => new ConnectionClosedError(`${what} failed: ${text}`, { outcome }),
  })
}

/** There has never been a connection. Calls that wait for it reject with the error of the attempts to connect. */
export function neverOpened(failure: Error): CloseReason {
  const error =
    failure instanceof AmqpError
      ? failure
      : new ConnectionFailedError(failure.message, { attempts: [], cause: failure })
  return new CloseReason({
    scope: 'connection',
    error,
    makeError: (what, _atFault, outcome) => {
      const message = `${what} failed: ${error.message}`
      if (error instanceof AuthenticationError) {
        const { replyCode, replyText } = error
        return new AuthenticationError(message, { replyCode, replyText, outcome, cause: error })
      }
      const attempts = error instanceof ConnectionFailedError ? error.attempts : []
      return new ConnectionFailedError(message, { attempts, outcome, cause: error })
    },
  })
}

/** The connection broke. */
export function lost(server: string, reason: LossReason, why: string, cause?: Error): CloseReason {
  const text = `the connection to ${server} was lost: ${why}`
  const error = atNoCall(new ConnectionLostError(text, { reason, cause }))
  return lostBecause(text, reason, error)
}

/** The connection ended as `ending` says, and could not be recovered: `last` is the error of the last attempt. */
export function gaveUp(server: string, ending: CloseReason, last: Error): CloseReason {
  const why = ending.error?.message ?? `the connection to ${server} ended`
  const text = `${why}; the recovery gave up: ${last.message}`
  return lostBecause(text, 'socket', atNoCall(new ConnectionLostError(text, { reason: 'socket', cause: last })))
}

/** The server sent what AMQP does not allow. */
export function violated(server: string, violation: FrameError | ProtocolError): CloseReason {
  return lostBecause(
    `the connection to ${server} was given up, since the server broke the protocol: ${violation.message}`,
    'protocol',
    violation,
  )
}

function lostBecause(text: string, reason: LossReason, error: AmqpError): CloseReason {
  return new CloseReason({
    scope: 'connection',
    error,
    makeError: (what, _atFault, outcome) =>
      new ConnectionLostError(`${what} failed: ${text}`, { reason, outcome, cause: error }),
  })
}
