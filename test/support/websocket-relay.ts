import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'

/** A web server with files from memory, and a WebSocket at any path that is relayed to a broker's port. */
export class WebSocketRelay implements AsyncDisposable {
  readonly #server: http.Server
  readonly #sockets: WebSocketServer
  readonly #results: ((result: string) => void)[] = []

  private constructor(server: http.Server, host: string, port: number) {
    this.#server = server
    this.#sockets = new WebSocketServer({ server })
    this.#sockets.on('connection', near => {
      const far = net.connect(port, host)
      near.on('message', bytes => far.write(bytes as Buffer))
      near.on('close', () => far.destroy())
      near.on('error', () => far.destroy())
      far.on('data', bytes => near.send(bytes))
      far.on('close', () => near.close())
      far.on('error', () => near.terminate())
    })
  }

  /** `files` by their paths; a POST is a result. */
  static async open(files: ReadonlyMap<string, string>, host: string, port: number): Promise<WebSocketRelay> {
    const server = http.createServer((request, response) => {
      const { url = '', method } = request
      if (method === 'POST') {
        const chunks: Buffer[] = []
        request.on('data', chunk => chunks.push(chunk))
        request.on('end', () => {
          response.end()
          for (const resolve of relay.#results.splice(0)) resolve(Buffer.concat(chunks).toString())
        })
        return
      }
      const text = files.get(url)
      if (text === undefined) response.statusCode = 404
      response.setHeader('content-type', url.endsWith('js') ? 'text/javascript' : 'text/html')
      response.end(text)
    })
    const relay = new WebSocketRelay(server, host, port)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return relay
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** What a page posts next. */
  result(): Promise<string> {
    return new Promise(resolve => this.#results.push(resolve))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate()
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}
