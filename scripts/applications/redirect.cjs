// Loaded before an application's tests, in each of their processes: no connection leaves this machine. What they connect to on RabbitMQ's usual
// ports goes to the broker of this run, and other machines are replaced by a port that accepts and says nothing. ASYNCAMQP_PORTS has the
// ports, as JSON: { "5672": 12345, "15672": 12346, "silent": 12347 }.
const { Socket } = require('node:net')

const ports = JSON.parse(process.env['ASYNCAMQP_PORTS'] ?? '{}')
const local = [undefined, '', 'localhost', '127.0.0.1', '::1']
const { connect } = Socket.prototype

Socket.prototype.connect = /** @type {any} */ (
  /** @this {import('node:net').Socket} @param {any[]} args */
  function (...args) {
    // Node normalizes the arguments into an array before it calls this; a program has the options first.
    const given = Array.isArray(args[0]) ? args[0] : args
    const [options] = given
    if (typeof options === 'object' && !options.path) {
      const { host, port } = options
      if (!local.includes(host)) given[0] = { ...options, host: '127.0.0.1', port: ports.silent }
      else if (ports[port] !== undefined) given[0] = { ...options, port: ports[port] }
    }
    return Reflect.apply(connect, this, args)
  }
)
