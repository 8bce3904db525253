/**
 * The public members of a class: an object with them can be made by hand. `AmqpProtocol`, `Channel` and the others have
 * private fields too, by which TypeScript takes nothing but their own instances.
 */
export type PublicOf<T> = { [Name in keyof T]: T[Name] }

/** A method with type parameters as one for any types. */
type Plain<Method> = Method extends (...args: infer Args) => infer Result ? (...args: Args) => Result : never

/**
 * An object that has some members of a class, typed as that class: a stand-in for the code under test.
 * Members that are not given do not exist.
 *
 *     const channel = standIn<Channel>({ basicPublish: () => {} })
 */
export function standIn<T extends object>(members: { readonly [Name in keyof T]?: T[Name] | Plain<T[Name]> }): T {
  return members as T
}
