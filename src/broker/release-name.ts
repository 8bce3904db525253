/** The releases of RabbitMQ that the broker can be alike. */
export type ReleaseName = '3.10' | '4.3'
