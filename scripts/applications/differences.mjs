/**
 * Tests of the applications that fail on asyncamqp by design, with the reasons: by the name of the application and of the test.
 *
 * @type {Readonly<Record<string, Readonly<Record<string, string>>>>}
 */
export const differences = {
  amqplib: {
    'confirms > multiple confirms':
      'It waits for an event with the field "multiple" of a basic.ack from the broker. The client hands out a promise for each message instead.',
    'confirms > works when channel is closed':
      'It wants messages to count as lost whose confirms arrive while the channel is being closed. Here they count as confirmed.',
  },
}
