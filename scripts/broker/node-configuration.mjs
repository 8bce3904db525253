/**
 * The configuration and the environment of a private RabbitMQ node: everything it reads or writes is in its own
 * folder, and it listens on this machine alone.
 */
import { join } from 'node:path'
import { hasIpv6 } from './ports.mjs'

/**
 * @param {object} options
 * @param {import('./node.mjs').RabbitNode} options.node
 * @param {string} options.homeFolder
 * @param {number} options.epmdPort
 * @param {import('./types.d.ts').CertificateFiles} options.certificates
 * @param {Readonly<Record<string, string>>} options.config
 * @param {readonly string[]} options.plugins
 */
export function nodeConfiguration({ node, homeFolder, epmdPort, certificates, config, plugins }) {
  const settings = {
    'listeners.tcp.1': `127.0.0.1:${node.port}`,
    ...(hasIpv6 && { 'listeners.tcp.2': `::1:${node.port}` }),
    'listeners.ssl.1': `127.0.0.1:${node.tlsPort}`,
    ...(hasIpv6 && { 'listeners.ssl.2': `::1:${node.tlsPort}` }),
    'ssl_options.cacertfile': certificates.caFile,
    'ssl_options.certfile': certificates.serverCertFile,
    'ssl_options.keyfile': certificates.serverKeyFile,
    'ssl_options.verify': 'verify_peer',
    'ssl_options.fail_if_no_peer_cert': 'false',
    'auth_mechanisms.1': 'PLAIN',
    'auth_mechanisms.2': 'AMQPLAIN',
    'auth_mechanisms.3': 'EXTERNAL',
    ssl_cert_login_from: 'common_name',
    loopback_users: 'none',
    heartbeat: '60',
    // Far from what a test needs, so that a runaway one blocks its publishers before it fills the machine.
    'vm_memory_high_watermark.absolute': '1GiB',
    'disk_free_limit.absolute': '50MB',
    'log.file.level': 'warning',
    'log.console': 'false',
    'management.tcp.ip': '127.0.0.1',
    'management.tcp.port': String(node.managementPort),
    // How old the figures of the management API may be: half a second at their source, one second where they are
    // collected; both are 5 s by default.
    collect_statistics_interval: '500',
    'management.sample_retention_policies.global.minute': '1',
    'management.sample_retention_policies.basic.minute': '1',
    'management.sample_retention_policies.detailed.10': '1',
    ...config,
  }
  const enabled = ['rabbitmq_management', 'rabbitmq_auth_mechanism_ssl', ...plugins]
  const inFolder = (/** @type {string} */ name) => join(node.dataDir, name)

  return {
    files: {
      'rabbitmq.conf': Object.entries(settings)
        .map(([key, value]) => `${key} = ${value}\n`)
        .join(''),
      enabled_plugins: `[${enabled.join(',')}].\n`,
      'rabbitmq-env.conf': '',
    },
    environment: {
      ...inheritedEnvironment(),
      HOME: homeFolder,
      // rabbitmqctl complains where the locale is not UTF-8.
      LANG: 'C.UTF-8',
      LC_ALL: 'C.UTF-8',
      ERL_CRASH_DUMP: '/dev/null',
      ERL_EPMD_ADDRESS: '127.0.0.1',
      ERL_EPMD_PORT: String(epmdPort),
      RABBITMQ_NODENAME: node.name,
      RABBITMQ_DIST_PORT: String(node.distributionPort),
      // Without it, the settings of the machine's own broker in /etc/rabbitmq apply.
      RABBITMQ_CONF_ENV_FILE: inFolder('rabbitmq-env.conf'),
      RABBITMQ_CONFIG_FILE: inFolder('rabbitmq.conf'),
      RABBITMQ_CONFIG_FILES: inFolder('conf.d/*.conf'),
      RABBITMQ_ADVANCED_CONFIG_FILE: inFolder('advanced.config'),
      RABBITMQ_ENABLED_PLUGINS_FILE: inFolder('enabled_plugins'),
      RABBITMQ_GENERATED_CONFIG_DIR: inFolder('generated'),
      RABBITMQ_MNESIA_BASE: inFolder('data'),
      RABBITMQ_LOG_BASE: node.dataDir,
      RABBITMQ_LOGS: node.logFile,
      RABBITMQ_PID_FILE: inFolder('pid'),
      // The script then becomes the virtual machine instead of waiting for one: one process, whose number is known.
      RUNNING_UNDER_SYSTEMD: 'true',
      // Idle schedulers sleep at once: the machine's cores are for the tests too.
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
        '-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none',
      RABBITMQ_CTL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
    },
  }
}

/** The caller's environment without what would set another node up. */
function inheritedEnvironment() {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(RABBITMQ_|ERL_|NOTIFY_SOCKET$)/.test(name)),
  )
}
