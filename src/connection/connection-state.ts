/** Where a protocol object stands. */
export type ConnectionState = 'connecting' | 'open' | 'recovering' | 'closing' | 'closed'

/** Which connection of a protocol: `'publisher'` is there with `connections: 'separate'` alone. */
export type ConnectionRole = 'main' | 'publisher'
