/** Where a protocol object stands. */
export type SessionState = 'connecting' | 'open' | 'recovering' | 'closing' | 'closed'
