/** Relays one call both ways between a person and a host, with back-pressure. Stores nothing, looks at nothing. */
import type { MessageDuplex } from '../hosts/agent-client.ts';

/** A call of the API whose first message opens it and whose others are bytes. */
export interface BytesInput<Open> {
  readonly message?:
    | { readonly $case: 'open'; readonly value: Open }
    | { readonly $case: 'data'; readonly value: Uint8Array }
    | undefined;
}

/**
 * @param open makes the connection to the host, from the first message; undefined when that opens nothing. Throws to refuse.
 * @returns what the host says, until either side ends it.
 */
export async function* relayBytes<Open, T>(
  messages: AsyncIterable<BytesInput<Open>>,
  open: (wanted: Open | undefined) => MessageDuplex<T>,
  signal: AbortSignal,
): AsyncGenerator<T> {
  const input = messages[Symbol.asyncIterator]();
  const first = await input.next();
  const message = first.done === true ? undefined : first.value.message;
  const host = open(message?.$case === 'open' ? message.value : undefined);
  const stop = () => host.destroy();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    pass(input, host).catch(stop);
    for await (const said of host) yield said;
  } catch (e) {
    if (!signal.aborted) throw e;
  } finally {
    signal.removeEventListener('abort', stop);
    stop();
  }
}

/** What the person sends, to the host; ends that when they do. */
async function pass<Open, T>(input: AsyncIterator<BytesInput<Open>>, host: MessageDuplex<T>): Promise<void> {
  for (;;) {
    const next = await input.next();
    if (next.done === true || host.destroyed) break;
    const { message } = next.value;
    if (message?.$case !== 'data') continue;
    if (!host.write(message.value)) await new Promise((resolve) => host.once('drain', resolve).once('close', resolve));
  }
  host.end();
}
