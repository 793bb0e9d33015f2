/** Who looks at which screen: gives out tickets, and connections to the VM's host for them. Sees nothing of what is shown. */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { MessageDuplex } from '../hosts/agent-client.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { State } from '../state/state.ts';
import { DisplayTickets } from './display-tickets.ts';
import type { Vms } from './vms.ts';

export type DisplayKind = 'vnc' | 'spice';

export interface DisplaysDeps {
  readonly state: State;
  readonly vms: Pick<Vms, 'locate'>;
  readonly hosts: Pick<Hosts, 'agent'>;
  readonly clock: Clock;
}

export interface DisplayTicket {
  readonly ticket: string;
  readonly expiresAtMs: number;
  readonly hostName: string;
}

export class Displays {
  readonly #tickets: DisplayTickets;

  constructor(private readonly deps: DisplaysDeps) {
    this.#tickets = new DisplayTickets(deps.clock);
  }

  /** Leaves a row in the audit log. @throws BAD_STATE when the VM is off; UNSUPPORTED when its agent is too old. */
  async ticket(nameOrId: string, kind: DisplayKind, user: string): Promise<DisplayTicket> {
    const { state } = this.deps;
    const { vm, hostId } = this.deps.vms.locate(nameOrId, kind);
    const made = this.#tickets.issue({ user, vmId: vm.id, hostId, kind });
    await state.update((tx) => {
      const row = tx.vms.get(vm.id);
      if (row) tx.vms.put({ ...row }); // as it is: the audit log has a row for what is touched
    });
    return { ...made, hostName: state.tables.hosts.get(hostId)?.name ?? '' };
  }

  /** @throws PERMISSION_DENIED unless the ticket is this user's, for this, and new. */
  open(
    nameOrId: string,
    kind: DisplayKind,
    ticket: string,
    user: string,
  ): MessageDuplex<{ readonly data: Uint8Array }> {
    const { vm, hostId } = this.deps.vms.locate(nameOrId, kind);
    if (!this.#tickets.redeem(ticket, { user, vmId: vm.id, hostId, kind }))
      throw new ClusterError(
        'PERMISSION_DENIED',
        `this ticket does not open the display of vm ${vm.name}: it was used, has expired, or was given for something else. Ask for another one`,
      );
    return this.deps.hosts.agent(hostId).openDisplay({ uuid: vm.uuid, vmId: vm.id, kind });
  }
}
