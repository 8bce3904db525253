/** Types for the part of the untyped package `buffer-layout` in use. None may appear in an exported type. */
declare module 'buffer-layout' {
  export interface Layout<T> {
    readonly span: number
    readonly property: string | undefined
    decode(buffer: Buffer, offset?: number): T
    encode(value: T, buffer: Buffer, offset?: number): number
  }

  export interface Structure<T> extends Layout<T> {
    offsetOf(property: string): number | undefined
  }

  export function u8(property?: string): Layout<number>
  export function u16be(property?: string): Layout<number>
  export function u32be(property?: string): Layout<number>
  export function s8(property?: string): Layout<number>
  export function s16be(property?: string): Layout<number>
  export function s32be(property?: string): Layout<number>
  export function f32be(property?: string): Layout<number>
  export function f64be(property?: string): Layout<number>
  export function blob(length: number, property?: string): Layout<Buffer>
  export function struct<T>(fields: readonly { readonly span: number }[], property?: string): Structure<T>
}
