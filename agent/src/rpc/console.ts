/** OpenConsole on the wire: the first message names the domain, then bytes go both ways until either side ends. */
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { ConsoleInput, ConsoleOutput, OpenConsole } from '@berth/proto/agent/v1/domain.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Consoles } from '../domain/consoles.ts';
import type { SerialSession } from '../domain/serial-session.ts';
import { write } from './guard.ts';

type ConsoleCall = ServerDuplexStream<ConsoleInput, ConsoleOutput>;

const MOST_SESSION_CHARS = 100;

export const consoleHandler =
  (consoles: Consoles) =>
  async (call: ConsoleCall, signal: AbortSignal): Promise<void> => {
    const input = (call as AsyncIterable<ConsoleInput> & ConsoleCall).iterator({ destroyOnReturn: false });
    const { uuid, vmId, force, session = '', from } = opening(await input.next());
    const console = await consoles.attach({ uuid, vmId, force, session, from });
    // whoever has no more to say is told the rest of what the guest answers
    typeAll(input, console).then(
      () => console.end(''),
      () => console.close(),
    );
    try {
      for await (const out of console.output(signal))
        await write(call, { ...out, data: Buffer.from(out.data) }, signal);
    } finally {
      consoles.detach(uuid, console);
    }
  };

/** One message at a time, so that what the guest can't take yet waits in the caller's stream. */
async function typeAll(input: AsyncIterator<ConsoleInput>, console: SerialSession): Promise<void> {
  for (let next = await input.next(); next.done !== true; next = await input.next()) {
    const { message } = next.value;
    if (message?.$case === 'data') await console.type(message.value);
  }
}

function opening(first: IteratorResult<ConsoleInput, unknown>): OpenConsole {
  const message = first.done === true ? undefined : first.value.message;
  if (message?.$case !== 'open') throw invalidArgument('the first message must name the domain whose console to open');
  if ((message.value.session ?? '').length > MOST_SESSION_CHARS) throw invalidArgument('a session has a shorter id');
  return message.value;
}
