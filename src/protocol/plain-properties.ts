import { type BasicProperties, PROPERTY_NAMES } from './properties.ts'
import { Properties } from './received-properties.ts'

/** Properties in a form that may be spread: a spread loses inherited members and getters. */
export function plainProperties(properties: BasicProperties): BasicProperties {
  if (properties instanceof Properties) return properties.toJSON()
  const prototype: unknown = Object.getPrototypeOf(properties)
  if (prototype === Object.prototype || prototype === null) return properties
  const names = new Set<string>(PROPERTY_NAMES)
  for (const name in properties) names.add(name)
  return Object.fromEntries([...names].map(name => [name, properties[name as keyof BasicProperties]]))
}
