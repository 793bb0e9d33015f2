/** A guest's serial console, relayed both ways with back-pressure. Stores nothing. */
import type { Duplex } from 'node:stream';
import type { VmConsoleInput, VmConsoleOutput } from '@berth/proto/v1/vm.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Vms } from '../app/vms.ts';
import type { Hosts } from '../hosts/hosts.ts';

export async function* relayConsole(
  vms: Pick<Vms, 'locate'>,
  hosts: Hosts,
  messages: AsyncIterable<VmConsoleInput>,
  signal: AbortSignal,
): AsyncGenerator<VmConsoleOutput> {
  const input = messages[Symbol.asyncIterator]();
  const first = await input.next();
  const open = first.done === true ? undefined : first.value.message;
  if (open?.$case !== 'open') throw invalidArgument('a console begins with the vm to open');
  const { vm, hostId } = vms.locate(open.value.vm, 'console');
  const guest = hosts.agent(hostId).openConsole({ uuid: vm.uuid, vmId: vm.id, force: open.value.force });
  const stop = () => guest.destroy();
  signal.addEventListener('abort', stop, { once: true });
  try {
    type(input, guest).catch(stop);
    for await (const data of guest) yield { data: data as Buffer };
  } catch (e) {
    if (!signal.aborted) throw e;
  } finally {
    signal.removeEventListener('abort', stop);
    stop();
  }
}

/** What the person types, to the guest; ends the console when they do. */
async function type(input: AsyncIterator<VmConsoleInput>, guest: Duplex): Promise<void> {
  for (;;) {
    const next = await input.next();
    if (next.done === true || guest.destroyed) break;
    const { message } = next.value;
    if (message?.$case !== 'data') continue;
    if (!guest.write(message.value))
      await new Promise((resolve) => guest.once('drain', resolve).once('close', resolve));
  }
  guest.end();
}
