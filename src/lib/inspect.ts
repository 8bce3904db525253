/** The name of the method that `console.log` and `util.inspect` of Node call to learn what to show of an object. */
export const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom')

/** What that method gets: how many levels are left, the options of the call, and the function to show the parts with. */
export type InspectArguments = readonly [
  depth: number | null,
  options: object,
  inspect: (value: unknown, options: object) => string,
]

/** The name of an object's class, with what says most about it instead of its fields. */
export function inspected(object: object, parts: object, [depth, options, inspect]: InspectArguments): string {
  const { name } = object.constructor
  return depth !== null && depth < 0 ? `[${name}]` : `${name} ${inspect(parts, { ...options, depth })}`
}
