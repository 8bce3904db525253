// A strict program that uses every public name of `asyncamqp/opentelemetry`. It is compiled, never run.
import type { MeterProvider, TextMapPropagator, TracerProvider } from '@opentelemetry/api'
import type { AmqpProtocol } from 'asyncamqp'
import { type AmqpInstrumentation, type InstrumentOptions, instrument } from 'asyncamqp/opentelemetry'

export function whole(tracerProvider: TracerProvider, meterProvider: MeterProvider): () => void {
  const instrumentation: AmqpInstrumentation = instrument({ tracerProvider, meterProvider })
  instrumentation.setTracerProvider(tracerProvider)
  instrumentation.setMeterProvider(meterProvider)
  instrumentation.setConfig({ enabled: true })
  if (!instrumentation.getConfig().enabled) instrumentation.enable()
  console.log(instrumentation.instrumentationName, instrumentation.instrumentationVersion)
  return () => instrumentation.disable()
}

export function one(protocol: AmqpProtocol, propagator: TextMapPropagator | undefined): AmqpInstrumentation {
  const options: InstrumentOptions = { protocol, propagator, processParent: 'registration', recordExceptions: true }
  return instrument(options)
}
