/** The releases of RabbitMQ that the broker can imitate. */
export type ReleaseName = '3.10' | '4.3'
