/** Connections to the displays of this host's VMs. Any number at once; whose screen it is, is looked at anew for each. */
import type { Duplex } from 'node:stream';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { DisplayKind, Hypervisor } from '../drivers/hypervisor.ts';
import { checkDomainRef, type DomainRef, type Domains } from './domains.ts';

export class Displays {
  constructor(
    private readonly deps: {
      readonly domains: Pick<Domains, 'need'>;
      readonly hypervisor: Pick<Hypervisor, 'openDisplay'>;
    },
  ) {}

  /** @throws BAD_STATE when the VM is off or has no such display. */
  async open(ref: DomainRef, kind: DisplayKind): Promise<Duplex> {
    const { name, power } = await this.deps.domains.need(checkDomainRef(ref));
    if (power === 'stopped' || power === 'crashed') throw badState(`vm ${name} is ${power}: it shows nothing`);
    return this.deps.hypervisor.openDisplay(ref.uuid, kind);
  }
}
