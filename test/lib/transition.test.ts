import assert from 'node:assert/strict'
import { test } from 'node:test'
import { transition } from '../../src/lib/transition.ts'

const NEXT = { open: ['closed'], closed: [] } as const

test('a change of state follows the table, or throws what it was', () => {
  assert.equal(transition('a door', NEXT, 'open', 'closed'), 'closed')
  assert.throws(() => transition<'open' | 'closed'>('a door', NEXT, 'closed', 'open'), {
    message: 'a door cannot go from closed to open',
  })
})
