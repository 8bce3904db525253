/**
 * The public members of a class: an object with them can be made by hand. `AmqpProtocol`, `Channel` and the others have
 * private fields too, by which TypeScript takes nothing but their own instances.
 */
export type PublicOf<T> = { [Name in keyof T]: T[Name] }

/**
 * An object that has some members of a class, typed as that class: a stand-in for the code under test.
 * Members that are not given do not exist.
 *
 *     const channel = standIn<Channel>({ basicPublish: () => {} })
 */
export function standIn<T extends object>(members: Partial<PublicOf<T>>): T {
  return members as T
}
