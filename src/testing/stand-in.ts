/**
 * What is public of a class: an object that has it can be made by hand. `AmqpProtocol`, `Channel` and the others have
 * private fields too, by which TypeScript takes nothing but their own instances.
 */
export type PublicOf<T> = { [Name in keyof T]: T[Name] }

/**
 * An object with some members of a class, as one of that class: to hand to what is tested, in the place of a real one.
 * What is not given is not there.
 *
 *     const channel = standIn<Channel>({ basicPublish: () => {} })
 */
export function standIn<T extends object>(members: Partial<PublicOf<T>>): T {
  return members as T
}
