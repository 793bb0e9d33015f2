/** A guest's serial console, relayed both ways. What it shows is its host's business. */
import type { VmConsoleInput, VmConsoleOutput } from '@berth/proto/v1/vm.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Vms } from '../app/vms.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { relayBytes } from './bytes.ts';

export async function* relayConsole(
  vms: Pick<Vms, 'locate'>,
  hosts: Hosts,
  messages: AsyncIterable<VmConsoleInput>,
  signal: AbortSignal,
): AsyncGenerator<VmConsoleOutput> {
  const open = (wanted: Extract<NonNullable<VmConsoleInput['message']>, { $case: 'open' }>['value'] | undefined) => {
    if (wanted === undefined) throw invalidArgument('a console begins with the vm to open');
    const { force, session = '', from } = wanted;
    const { vm, hostId } = vms.locate(wanted.vm, 'console');
    return hosts.agent(hostId).openConsole({ uuid: vm.uuid, vmId: vm.id, force, session, from });
  };
  for await (const said of relayBytes(messages, open, signal)) {
    const { data, position, gap, notice, ended } = said;
    yield { data: Buffer.from(data), position, gap, notice, ended };
  }
}
