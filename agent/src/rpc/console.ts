/** OpenConsole on the wire: the first message names the domain, then bytes go both ways until either side ends. */
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { ConsoleInput, ConsoleOutput, OpenConsole } from '@berth/proto/agent/v1/domain.ts';
import { badState, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import { checkDomainRef, type Domains } from '../domain/domains.ts';
import { write } from './guard.ts';

type ConsoleCall = ServerDuplexStream<ConsoleInput, ConsoleOutput>;

export const consoleHandler =
  (d: { readonly domains: Domains; readonly hypervisor: Hypervisor }) =>
  async (call: ConsoleCall, signal: AbortSignal): Promise<void> => {
    const open = await firstMessage(call, signal);
    const seen = await d.domains.need(checkDomainRef({ uuid: open.uuid, vmId: open.vmId }));
    if (seen.power !== 'running' && seen.power !== 'paused')
      throw badState(`vm ${seen.name} is ${seen.power}; it has a console only while it runs`);
    const console = await d.hypervisor.openConsole(open.uuid, open.force);
    call.on('data', (input: ConsoleInput) => {
      if (input.message?.$case !== 'data' || console.write(input.message.value)) return;
      call.pause();
      console.once('drain', () => call.resume());
    });
    call.once('end', () => console.end());
    call.resume();
    const stop = (): void => void console.destroy();
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    try {
      for await (const data of console) await write(call, { data: data as Buffer }, signal);
    } catch (e) {
      if (!signal.aborted) throw e;
    } finally {
      signal.removeEventListener('abort', stop);
      console.destroy();
    }
  };

/** Takes one message and no more: what follows waits in the stream until the console is open. */
async function firstMessage(call: ConsoleCall, signal: AbortSignal): Promise<OpenConsole> {
  const first = await new Promise<ConsoleInput | undefined>((resolve) => {
    const end = (): void => resolve(undefined);
    call.once('end', end);
    signal.addEventListener('abort', end, { once: true });
    call.once('data', (input: ConsoleInput) => {
      call.pause();
      call.off('end', end);
      signal.removeEventListener('abort', end);
      resolve(input);
    });
  });
  if (first?.message?.$case !== 'open')
    throw invalidArgument('the first message must name the domain whose console to open');
  return first.message.value;
}
