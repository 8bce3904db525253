/** Where a protocol object stands. */
export type ConnectionState = 'connecting' | 'open' | 'recovering' | 'closing' | 'closed'
