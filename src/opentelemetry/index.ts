/// <reference types="node" preserve="true" />

/** `asyncamqp/opentelemetry`: spans and metrics by OpenTelemetry, made of nothing but the diagnostics channels and `stats()`. */
export { type AmqpInstrumentation, type InstrumentOptions, instrument } from './instrumentation.ts'
