/** Prints one line about what is being done. */
export type Log = (line: string) => void

/** What a program needs to know to use a broker. Fields that a broker of the user's own does not offer are absent. */
export interface BrokerAddress {
  /**
   * How the broker was found: named by `AMQP_URL`, a private node of this project, Docker Compose, or that of
   * `asyncamqp/testing`.
   */
  readonly kind: 'url' | 'node' | 'docker' | 'testing'
  /** With user and password, and without a path unless `AMQP_URL` has one. */
  readonly url: string
  readonly host: string
  readonly port: number
  readonly tlsUrl?: string | undefined
  readonly tlsPort?: number | undefined
  /** With user and password. */
  readonly managementUrl?: string | undefined
  /** The certificate authority that signed the server's and the client's certificate (PEM). */
  readonly caFile?: string | undefined
  readonly clientCertFile?: string | undefined
  readonly clientKeyFile?: string | undefined
  /** The user that EXTERNAL logs in with the client certificate. */
  readonly clientUser?: string | undefined
  /** RabbitMQ's version, as in its connection.start. */
  readonly version?: string | undefined
  /** The version that was asked for, as `4` or `4.0.5`, if one was. */
  readonly rabbitmq?: string | undefined
  /** The process of the Erlang virtual machine. */
  readonly pid?: number | undefined
  readonly nodeName?: string | undefined
  readonly dataDir?: string | undefined
}

/** A broker for one run of a program. */
export interface Broker extends BrokerAddress {
  /** Stops what was started for this run and removes its files; a broker named by `AMQP_URL` is left alone. */
  stop(): Promise<void>
}

export interface FindOptions extends Pick<NodeOptions, 'log' | 'keep' | 'rabbitmq'> {
  /** Install Debian's package, as root, if there is no RabbitMQ. Default: false. */
  readonly install?: boolean | undefined
  /** Use the broker of `asyncamqp/testing`, whatever else is here. Default: false. */
  readonly testing?: boolean | undefined
}

export interface NodeOptions {
  readonly log?: Log | undefined
  /** Which RabbitMQ, as `4` or `4.0.5`. Default: what `ASYNCAMQP_RABBITMQ` says, else the installed one. */
  readonly rabbitmq?: string | undefined
  /** Further lines of rabbitmq.conf, which win over the usual ones. */
  readonly config?: Readonly<Record<string, string>> | undefined
  /** Plugins beside rabbitmq_management and rabbitmq_auth_mechanism_ssl. */
  readonly plugins?: readonly string[] | undefined
  /** Leaves the folder with the logs and the data where it is. Default: whether `ASYNCAMQP_KEEP_BROKER` is set. */
  readonly keep?: boolean | undefined
}

/** A RabbitMQ node of one's own, with ports, data, cookie and epmd that it shares with nothing else on the machine. */
export interface RabbitNode {
  /** Erlang's name of it, as in `rabbitmqctl -n`. */
  readonly name: string
  readonly host: string
  readonly port: number
  readonly tlsPort: number
  readonly managementPort: number
  readonly url: string
  readonly tlsUrl: string
  readonly managementUrl: string
  readonly caFile: string
  readonly clientCertFile: string
  readonly clientKeyFile: string
  readonly clientUser: string
  /** Empty before the first start. */
  readonly version: string
  /** The Erlang virtual machine, while it runs. */
  readonly pid: number | undefined
  readonly dataDir: string
  readonly logFile: string
  /** Starts it, again on the same ports and with the data it had; resolves when it takes connections. */
  start(): Promise<void>
  /** Stops it in order (SIGTERM), which takes some seconds; its data stays. */
  stop(): Promise<void>
  /** Ends it at once (SIGKILL); its data stays as it is on the disk; data of the last second may be missing. */
  kill(): Promise<void>
  /** Stops its process in its tracks (SIGSTOP): connections stay open and nothing answers. */
  freeze(): void
  /** Lets a frozen node go on (SIGCONT). */
  thaw(): void
  /** Evaluates Erlang on it, and gives the value as Erlang prints it. */
  evaluate(expression: string): Promise<string>
  /** Makes it find that it has too little left of a resource, so that it blocks connections that publish. */
  raiseAlarm(resource: 'memory' | 'disk'): Promise<void>
  /** Makes it find that it has enough of everything. */
  clearAlarms(): Promise<void>
  /** Closes connections as an operator does, by the names that their clients gave. */
  closeConnections(...names: readonly string[]): Promise<void>
  /** Ends it and removes everything it left. */
  destroy(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Several nodes that form one cluster. */
export interface RabbitCluster {
  readonly nodes: readonly RabbitNode[]
  /** Ends all nodes and removes everything they left. */
  destroy(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** A certificate and its private key, both PEM. */
export interface Certificate {
  readonly certificate: string
  readonly key: string
}

export interface CertificateRequest {
  readonly commonName: string
  /** Whether a server or a client shows it. */
  readonly usage: 'server' | 'client'
  /** Host names and IP addresses it is valid for. */
  readonly names?: readonly string[] | undefined
  /** Default: yesterday. */
  readonly notBefore?: Date | undefined
  /** Default: ten years from now. */
  readonly notAfter?: Date | undefined
}

/** A certificate authority for tests. */
export interface CertificateAuthority extends Certificate {
  issue(request: CertificateRequest): Certificate
}

/** Where the certificates of one broker lie. */
export interface CertificateFiles {
  readonly caFile: string
  readonly caKeyFile: string
  readonly serverCertFile: string
  readonly serverKeyFile: string
  readonly clientCertFile: string
  readonly clientKeyFile: string
}

/** What `scripts/broker.mjs` exports. */
export interface BrokerModule {
  startBroker(options?: FindOptions): Promise<Broker>
  startNode(options?: NodeOptions): Promise<RabbitNode>
  startCluster(size: number, options?: NodeOptions): Promise<RabbitCluster>
  createAuthority(commonName?: string): CertificateAuthority
}
