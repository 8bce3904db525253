import type { SchemaResult, StandardSchema } from '../../../src/index.ts'

export interface Order {
  readonly id: number
}

/** A schema of objects with a number `id`, by hand. It makes new ones, with nothing else in them. */
export const ORDER: StandardSchema<Order> = schema(value => {
  const { id } = (value ?? {}) as Partial<Order>
  if (typeof id === 'number') return { value: { id } }
  return { issues: [{ message: `expected a number, got ${typeof id}`, path: ['id'] }] }
})

/** A schema of what `validate` says, which may be anything. */
export function schema<T>(validate: (value: unknown) => unknown): StandardSchema<T> {
  return {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: validate as (value: unknown) => SchemaResult<T> | Promise<SchemaResult<T>>,
    },
  }
}
