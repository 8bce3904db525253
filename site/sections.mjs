/**
 * The guides in the order of the site.
 *
 * @type {{ title: string, guides: [file: string, title: string, about: string][] }[]}
 */
export const SECTIONS = [
  {
    title: 'Begin',
    guides: [
      ['getting-started', 'Getting started', 'a first publisher, worker and test, step by step'],
      ['recipes', 'Recipes', 'delays, priorities, an outbox, idempotent consumers and other known problems'],
      ['options', 'Options', 'the options of publishers, consumers and RPC, with defaults and units'],
      ['glossary', 'Glossary', 'the words of AMQP, of RabbitMQ and of this package'],
    ],
  },
  {
    title: 'Use it',
    guides: [
      ['connecting', 'Connecting', 'URLs, options of connect(), several servers, events'],
      ['tls', 'TLS and logins', 'certificates, passwords, tokens, and what their errors mean'],
      ['publishing', 'Publishing', 'what a resolved publish promises, and what a rejected one says'],
      ['consuming', 'Consuming', 'handlers, loops, batches, next(), and what becomes of a message'],
      ['typed-messages', 'Typed messages', 'schemas of Zod, Valibot or ArkType, compression, codecs of your own'],
      ['retries', 'Retries and dead letters', 'onFailure, error queues, dead-letter exchanges, putting messages back'],
      ['rpc', 'RPC', 'call a service, and answer'],
      [
        'queues-and-exchanges',
        'Queues, exchanges and transactions',
        'declare, bind, headers and arguments, transactions',
      ],
      ['streams', 'Streams', 'offsets, going on where one stopped, filters'],
      ['protocol-level', 'The protocol level', 'the methods of AMQP, one to one'],
      ['testing', 'Testing', 'a broker inside the test, faults, handlers without a broker'],
      ['codec', 'The codec', 'frames without a connection'],
    ],
  },
  {
    title: 'Run it',
    guides: [
      ['production', 'Going to production', 'what to set and what to alert on'],
      ['shutting-down', 'Shutting down', 'SIGTERM, systemd, Kubernetes, deadlines'],
      ['recovery', 'Recovery', 'what comes back, and what each promise means'],
      ['faults', 'Faults, measured', 'measured behaviour under faults, beside other clients'],
      ['observability', 'Observability', 'diagnostics channels, logs, statistics, OpenTelemetry, alerts'],
      ['rabbitmq-versions', 'RabbitMQ versions', 'differences of RabbitMQ 3.10, 4.0 and 4.3'],
      [
        'runtimes',
        'Runtimes, loaders and compilers',
        'Node, Bun, Deno and browsers; bundlers, test runners and TypeScript',
      ],
    ],
  },
  {
    title: 'Find a fault',
    guides: [
      ['troubleshooting', 'Troubleshooting', 'by the code of an error, by reply code, by the step of a connection'],
      ['consumer-stopped', 'Why did my consumer stop?', 'questions in their order, each with one thing to look at'],
      ['errors', 'Errors', 'every class and its fields'],
    ],
  },
  {
    title: 'Come to it',
    guides: [
      [
        'comparison',
        'Comparison',
        'with amqplib, rabbitmq-client and @cloudamqp/amqp-client; each claim with its proof',
      ],
      ['from-amqplib', 'From amqplib', 'what became of each name of amqplib'],
      ['amqplib-programs', 'Ten amqplib programs', 'before and after'],
      [
        'from-node-clients',
        'From other Node clients',
        'from amqp-connection-manager, rabbitmq-client and @cloudamqp/amqp-client',
      ],
      ['from-aioamqp', 'From aioamqp', 'what became of each name of aioamqp'],
      ['from-other-clients', 'From other clients', 'from carehare, stompman and stompest'],
      ['architecture', 'Architecture', 'the source: its layers, and the ways of a publish, a delivery and a recovery'],
    ],
  },
]
