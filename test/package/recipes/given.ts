// What the recipes of docs/recipes.md take as given: a database with the interface of `pg`, and a store. Copied beside them.

interface Row {
  readonly id: string
  readonly exchange_name: string
  readonly routing_key: string
  readonly payload: object
}

/** The tables of the recipes, for queries of the recipes alone. */
class Database {
  balance = 0
  readonly processed = new Set<unknown>()
  outbox: Row[] = []
  #before: Row[] = []

  async query(text: string, values: readonly unknown[] = []): Promise<{ rows: Row[]; rowCount: number | null }> {
    if (text === 'BEGIN') this.#before = [...this.outbox]
    else if (text === 'ROLLBACK') this.outbox = this.#before
    else if (text.startsWith('SELECT')) return { rows: this.outbox.slice(0, 500), rowCount: null }
    else if (text.startsWith('DELETE')) {
      const [ids] = values as [readonly string[]]
      this.outbox = this.outbox.filter(({ id }) => !ids.includes(id))
    } else if (text.startsWith('INSERT INTO processed')) {
      if (this.processed.has(values[0])) return { rows: [], rowCount: 0 }
      this.processed.add(values[0])
    } else if (text.startsWith('UPDATE accounts')) this.balance += Number(values[1])
    return { rows: [], rowCount: 1 }
  }
}

export const client = new Database()
let transactions = Promise.resolve()

/** One at a time, which says what there is after each. */
export function inTransaction(work: (transaction: Database) => Promise<void>): Promise<void> {
  transactions = transactions.then(async () => {
    await work(client)
    console.log(`balance ${client.balance} of ${client.processed.size} payments`)
  })
  return transactions
}

const contents = new Map<string, Uint8Array>()

export const store = {
  async put(key: string, content: Uint8Array): Promise<void> {
    contents.set(key, content)
  },
  async get(key: string): Promise<Uint8Array> {
    return contents.get(key) ?? new Uint8Array()
  },
}

let inserted = 0

export const pool = {
  async query(_text: string, values: readonly unknown[]): Promise<void> {
    inserted += (values as [readonly unknown[]])[0].length
    console.log(`${inserted} rows`)
  },
}
