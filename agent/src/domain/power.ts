/**
 * What to do with guests that run: the operations behind PowerService. Starting and ending them is domains.ts's. They take
 * turns among themselves and not with those, so that a guest that does not answer can still be forced off.
 */
import { badState, invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { DomainPower, Hypervisor } from '../drivers/hypervisor.ts';
import type { OperationKind, Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import type { DomainRef, Domains } from './domains.ts';

export interface PowerDeps {
  readonly domains: Pick<Domains, 'need'>;
  readonly hypervisor: Pick<
    Hypervisor,
    'reboot' | 'reset' | 'suspend' | 'resume' | 'save' | 'discardSaved' | 'injectNmi' | 'sendKeys'
  >;
  readonly operations: Operations;
}

export interface KeysRequest extends DomainRef {
  /** Linux key codes, each chord held together. */
  readonly chords: readonly (readonly number[])[];
}

/** QEMU holds so many keys at once. */
const MOST_KEYS = 16;
const MOST_CHORDS = 64;

export function checkKeys(request: KeysRequest): KeysRequest {
  const { chords } = request;
  if (chords.length === 0 || chords.length > MOST_CHORDS)
    throw invalidArgument(`1 to ${MOST_CHORDS} chords of keys can be sent at once, not ${chords.length}`);
  for (const codes of chords)
    if (codes.length === 0 || codes.length > MOST_KEYS || codes.some((c) => c < 1 || c > 255))
      throw invalidArgument(`a chord is 1 to ${MOST_KEYS} key codes from 1 to 255`);
  return request;
}

/** Each fills the disk as fast as it takes it. */
const SAVES_AT_ONCE = 2;
const ON: readonly DomainPower[] = ['running', 'paused', 'stopping', 'suspended'];

export class Power {
  readonly reboot: OperationKind<DomainRef>;
  readonly reset: OperationKind<DomainRef>;
  readonly suspend: OperationKind<DomainRef>;
  readonly resume: OperationKind<DomainRef>;
  readonly save: OperationKind<DomainRef>;
  readonly discardSaved: OperationKind<DomainRef>;
  readonly nmi: OperationKind<DomainRef>;
  readonly sendKeys: OperationKind<KeysRequest>;

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
    this.save = deps.operations.define<DomainRef>({
      name: 'domain.save',
      long: { atOnce: SAVES_AT_ONCE },
      lockKey: ({ uuid }) => `guest/${uuid}`,
      run: (ref, work) => this.doSave(ref, work),
    });
    this.discardSaved = verb('discard-saved', ['stopped', 'crashed'], (uuid) => hypervisor.discardSaved(uuid));
    this.nmi = verb('nmi', ['running', 'stopping'], (uuid) => hypervisor.injectNmi(uuid));
    this.sendKeys = deps.operations.define<KeysRequest>({
      name: 'domain.sendKeys',
      lockKey: ({ uuid }) => `guest/${uuid}`,
      run: ({ uuid, vmId, chords }) =>
        this.act('send-keys', ['running', 'stopping'], { uuid, vmId }, async () => {
          for (const codes of chords) await hypervisor.sendKeys(uuid, codes);
        }),
    });
  }

  /** An agent that ends leaves libvirt to it; the next one finds it saved, or libvirt still busy. */
  private async doSave(ref: DomainRef, { signal, onProgress }: Work): Promise<void> {
    const seen = await this.deps.domains.need(ref);
    if (seen.power === 'stopped' && seen.reason === 'saved') return;
    const cancelled = new AbortController();
    const left = new Promise<never>((_, reject) => {
      const hear = (): void => {
        if (isClusterError(signal.reason, 'CANCELLED')) cancelled.abort(signal.reason);
        else reject(signal.reason as Error);
      };
      signal.addEventListener('abort', hear, { once: true });
      if (signal.aborted) hear();
    });
    const saving = this.act('save', ['running', 'paused', 'stopping'], ref, (uuid) =>
      this.deps.hypervisor.save(uuid, cancelled.signal, onProgress),
    );
    await Promise.race([saving, left]).finally(() => saving.catch(() => undefined));
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
