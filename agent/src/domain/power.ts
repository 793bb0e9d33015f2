/**
 * What to do with guests that run: the operations behind PowerService. Starting and ending them is domains.ts's. They take
 * turns among themselves and not with those, so that a guest that does not answer can still be forced off.
 */
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { DomainPower, Hypervisor } from '../drivers/hypervisor.ts';
import type { OperationKind } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import type { DomainRef, Domains } from './domains.ts';

export interface PowerDeps {
  readonly domains: Pick<Domains, 'need'>;
  readonly hypervisor: Pick<Hypervisor, 'reboot' | 'reset' | 'suspend' | 'resume'>;
  readonly operations: Operations;
}

const ON: readonly DomainPower[] = ['running', 'paused', 'stopping', 'suspended'];

export class Power {
  readonly reboot: OperationKind<DomainRef>;
  readonly reset: OperationKind<DomainRef>;
  readonly suspend: OperationKind<DomainRef>;
  readonly resume: OperationKind<DomainRef>;

  constructor(private readonly deps: PowerDeps) {
    const { hypervisor } = deps;
    const verb = (name: string, from: readonly DomainPower[], run: (uuid: string) => Promise<void>) =>
      deps.operations.define<DomainRef>({
        name: `domain.${name}`,
        lockKey: (ref) => `guest/${ref.uuid}`,
        run: (ref) => this.act(name, from, ref, run),
      });
    this.reboot = verb('reboot', ['running'], (uuid) => hypervisor.reboot(uuid));
    this.reset = verb('reset', ON, (uuid) => hypervisor.reset(uuid));
    this.suspend = verb('suspend', ['running', 'paused', 'stopping'], (uuid) => hypervisor.suspend(uuid));
    this.resume = verb('resume', ON, (uuid) => hypervisor.resume(uuid));
  }

  private async act(
    name: string,
    from: readonly DomainPower[],
    ref: DomainRef,
    run: (uuid: string) => Promise<void>,
  ): Promise<void> {
    const seen = await this.deps.domains.need(ref);
    if (!from.includes(seen.power))
      throw badState(`vm ${seen.name} is ${seen.power} on its host; ${name} needs one that is ${from.join(' or ')}`);
    await run(ref.uuid);
  }
}
