import { type BasicProperties, PROPERTY_NAMES } from './properties.ts'
import { Properties } from './received-properties.ts'

/** Properties that may be spread: what an object inherits, as getters too, is lost by that. */
export function plainProperties(properties: BasicProperties): BasicProperties {
  if (properties instanceof Properties) return properties.toJSON()
  const prototype: unknown = Object.getPrototypeOf(properties)
  if (prototype === Object.prototype || prototype === null) return properties
  const names = new Set<string>(PROPERTY_NAMES)
  for (const name in properties) names.add(name)
  return Object.fromEntries([...names].map(name => [name, properties[name as keyof BasicProperties]]))
}
