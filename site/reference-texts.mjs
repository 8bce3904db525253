// What the reference says beside the hover texts: descriptions and examples of `site/reference`, and the rule that nothing public lacks one.
// A plugin of TypeDoc.
import { readFileSync } from 'node:fs'
import { Comment, CommentTag, Converter, ReflectionKind } from 'typedoc'

/** What TypeDoc calls the main entry. */
const MAIN_ENTRY = 'asyncamqp'
const OPTIONS = /(?:Options|Policy|Arguments)$/
const DEFAULT = /\bdefault|\bnone\b|\bwithout\b|\bunless\b|\bmissing\b|\bleft out\b/i
const UNIT =
  /\b(?:milliseconds|seconds|bytes|messages|batches|channels|priority|number|attempts|deliveries|callbacks|handlers|replicas|consumers|how (?:many|often))\b/i
/** Numbers that have no unit. */
const PURE = /\.(?:replyCode|port|factor|jitter|x-queue-version)$/
/** A block of code in a hover text. */
const SHOWN = /^ {4}\S/m

/** @param {string} file */
function textOf(file) {
  const text = readFileSync(new URL(`reference/${file}`, import.meta.url), 'utf8')
  return text.replaceAll(/\]\(\.\.\/\.\.\/docs\/([\w-]+)\.md/g, '](/guides/$1.html')
}

/**
 * The rows of both tables of `descriptions.md`.
 *
 * @returns {[name: string, text: string][]}
 */
function descriptions() {
  return Array.from(textOf('descriptions.md').matchAll(/^\| (`.*?) \| (.*) \|$/gm)).flatMap(
    ([, names = '', text = '']) =>
      Array.from(names.matchAll(/`([^`]+)`/g), ([, name = '']) => /** @type {[string, string]} */ ([name, text])),
  )
}

/**
 * The blocks of `examples.md` under the names in their headings.
 *
 * @returns {[name: string, block: string][]}
 */
function examples() {
  const sections = textOf('examples.md').split(/^## /m).slice(1)
  return sections.flatMap(section => {
    const [heading = ''] = section.split('\n', 1)
    const [block] = /^```ts\n.*?^```$/ms.exec(section) ?? []
    if (block === undefined) throw new Error(`examples.md: no block under "${heading}"`)
    return heading.split(', ').map(name => /** @type {[string, string]} */ ([name, block]))
  })
}

/** @param {import('typedoc').DeclarationReflection} reflection */
function nameOf(reflection) {
  const { parent } = reflection
  const isMember = parent !== undefined && !parent.kindOf([ReflectionKind.Module, ReflectionKind.Project])
  return isMember ? `${parent.name}.${reflection.name}` : reflection.name
}

/** @param {import('typedoc').Comment | undefined} comment */
function textOfComment(comment) {
  const parts = [...(comment?.summary ?? []), ...(comment?.blockTags.flatMap(({ content }) => content) ?? [])]
  return parts.map(({ text }) => text).join('')
}

/**
 * Where the comment of a member is: at each of its signatures, if it has some.
 *
 * @param {import('typedoc').DeclarationReflection} reflection
 */
function commented(reflection) {
  const { signatures, getSignature, setSignature } = reflection
  if (signatures !== undefined) return signatures
  const accessor = getSignature ?? setSignature
  return accessor === undefined ? [reflection] : [accessor]
}

/** @param {import('typedoc').DeclarationReflection} reflection */
function isNumeric(reflection) {
  return /\bnumber\b/.test(String(reflection.type)) && !/'/.test(String(reflection.type))
}

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_END, context => {
    const known = { descriptions: descriptions(), examples: examples() }
    const used = new Set()
    /** @type {string[]} */
    const faults = []

    /** @param {[string, string][]} entries @param {string} name */
    const take = (entries, name) => {
      const found = entries.filter(([each]) => each === name || each === name.replace(/^.*\.(?=[^.]+$)/, '*.'))
      for (const [each] of found) used.add(each)
      return found.map(([, text]) => text).join(' ')
    }

    const kinds = [
      ...[ReflectionKind.Class, ReflectionKind.Interface, ReflectionKind.TypeAlias, ReflectionKind.Variable],
      ...[ReflectionKind.Function, ReflectionKind.Method, ReflectionKind.Property, ReflectionKind.Accessor],
    ]
    const all = /** @type {import('typedoc').DeclarationReflection[]} */ (
      context.project.getReflectionsByKind(kinds.reduce((sum, kind) => sum | kind, 0))
    )
    for (const reflection of all) {
      const { parent } = reflection
      // Members of types that have no name of their own, and what errors and emitters inherit.
      if (reflection.inheritedFrom !== undefined || parent?.kindOf(ReflectionKind.TypeLiteral)) continue
      const name = nameOf(reflection)
      const parts = commented(reflection)
      const added = take(known.descriptions, name)
      for (const part of parts) {
        part.comment ??= new Comment()
        const method =
          /^[A-Z]/.test(name) && reflection.kindOf(ReflectionKind.Variable) ? amqpName(reflection) : undefined
        const isMute = part.comment.summary.length === 0
        const text = added !== '' ? added : isMute && method !== undefined ? `\`${method}\`: a method of AMQP.` : ''
        if (text !== '') part.comment.summary.push({ kind: 'text', text: isMute ? text : ` ${text}` })
        if (part.comment.summary.length === 0) faults.push(`${name} has no description`)
      }
      const [first] = parts
      if (first === undefined) continue
      if (reflection.kindOf([ReflectionKind.Class, ReflectionKind.Function, ReflectionKind.Method])) {
        const block = take(known.examples, name)
        if (block !== '') first.comment?.blockTags.push(new CommentTag('@example', [{ kind: 'code', text: block }]))
        else if (!parts.some(({ comment }) => SHOWN.test(textOfComment(comment)))) faults.push(`${name} has no example`)
      }
      if (OPTIONS.test(parent?.name ?? '') && reflection.flags.isOptional) {
        const text = textOfComment(first.comment)
        if (!DEFAULT.test(text)) faults.push(`${name} says no default`)
        if (isNumeric(reflection) && !PURE.test(name) && !UNIT.test(text)) faults.push(`${name} says no unit`)
      }
    }
    for (const [name] of [...known.descriptions, ...known.examples]) {
      if (!used.has(name)) faults.push(`${name} is described, and does not exist`)
    }
    if (faults.length > 0) throw new Error(`The reference:\n  ${[...new Set(faults)].join('\n  ')}`)

    // Programs make none of these by `new`: what can be made has a comment there.
    const constructors = context.project.getReflectionsByKind(ReflectionKind.Constructor)
    for (const each of /** @type {import('typedoc').DeclarationReflection[]} */ (constructors)) {
      if (!each.signatures?.some(({ comment }) => comment !== undefined)) context.project.removeReflection(each)
    }
    const main = context.project.getChildByName(['index'])
    if (main === undefined) throw new Error('there is no main entry')
    main.name = MAIN_ENTRY
  })
}

/**
 * `queue.declare-ok` of `QueueDeclareOk`, if the constant is a row in the table of methods.
 *
 * @param {import('typedoc').DeclarationReflection} reflection
 */
function amqpName(reflection) {
  if (!/^(?:Sync)?Method\b/.test(String(reflection.type))) return undefined
  const [first = '', ...rest] = reflection.name.split(/(?=[A-Z])/).map(word => word.toLowerCase())
  return `${first}.${rest.join('-')}`
}
