/**
 * What was last seen of each domain, so that lists are answered while libvirt is blocked by a starting domain. Fed by
 * refreshes: one at a time per domain, and one more behind it when something happened meanwhile. Asks libvirt only
 * through `read`.
 */
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { DomainSeen } from '../hypervisor.ts';

const RETRY_MS = 1_000;

export interface DomainCacheOptions {
  readonly clock: Clock;
  /** Undefined: there is no such domain. `known` is what is still valid of the definition. */
  read(uuid: string, known: DomainSeen | undefined): Promise<DomainSeen | undefined>;
  /** Called when what is known of a domain differs from before. */
  onChange(uuid: string, seen: DomainSeen | undefined, before: DomainSeen | undefined): void;
  /** Whether a failed refresh in the background is worth trying again. */
  mayRetry(): boolean;
}

const UNREAD = { persistent: true, metadataXml: undefined, memoryBytes: 0, vcpus: 0 } as const;

interface Refresh {
  readonly done: Promise<DomainSeen | undefined>;
  next: Promise<DomainSeen | undefined> | undefined;
  nextDefinition: boolean;
}

export class DomainCache {
  readonly #seen = new Map<string, DomainSeen>();
  readonly #refreshes = new Map<string, Refresh>();

  constructor(readonly opts: DomainCacheOptions) {}

  list(): readonly DomainSeen[] {
    return [...this.#seen.values()];
  }

  find(uuid: string): DomainSeen | undefined {
    return this.#seen.get(uuid);
  }

  /**
   * Reads a domain anew; what it returns was read after this call began.
   * @param definition whether the definition may have changed too.
   */
  refresh(uuid: string, definition: boolean): Promise<DomainSeen | undefined> {
    const running = this.#refreshes.get(uuid);
    if (running === undefined) return this.#start(uuid, definition);
    running.nextDefinition ||= definition;
    running.next ??= running.done
      .catch(() => undefined) // its own callers hear of it
      .then(() => this.#start(uuid, running.nextDefinition));
    return running.next;
  }

  /** A refresh nobody waits for; tried again until it works or the connection is gone. */
  refreshSoon(uuid: string, definition: boolean): void {
    this.refresh(uuid, definition).catch(() => {
      if (this.opts.mayRetry()) this.opts.clock.after(RETRY_MS, () => this.refreshSoon(uuid, definition));
    });
  }

  /** Makes the cache agree with libvirt: `found` is all there is. Domains that can't be read now become `unknown`. */
  async sync(found: readonly { readonly uuid: string; readonly name: string }[]): Promise<void> {
    const names = new Map([...this.list(), ...found].map((d) => [d.uuid, d.name]));
    await Promise.all([...names].map(([uuid, name]) => this.#syncOne(uuid, name)));
  }

  async #syncOne(uuid: string, name: string): Promise<void> {
    try {
      await this.refresh(uuid, true);
    } catch (e) {
      if (!this.opts.mayRetry()) throw e;
      // It exists, so it must not be missing from lists; the rest is as last seen.
      this.#put(uuid, { ...(this.#seen.get(uuid) ?? UNREAD), uuid, name, power: 'unknown', reason: 'none' });
      this.refreshSoon(uuid, true);
    }
  }

  #start(uuid: string, definition: boolean): Promise<DomainSeen | undefined> {
    const done = this.#read(uuid, definition);
    const refresh: Refresh = { done, next: undefined, nextDefinition: false };
    this.#refreshes.set(uuid, refresh);
    const over = (): void => {
      if (refresh.next === undefined && this.#refreshes.get(uuid) === refresh) this.#refreshes.delete(uuid);
    };
    done.then(over, over);
    return done;
  }

  async #read(uuid: string, definition: boolean): Promise<DomainSeen | undefined> {
    const seen = await this.opts.read(uuid, definition ? undefined : this.#seen.get(uuid));
    this.#put(uuid, seen);
    return seen;
  }

  #put(uuid: string, seen: DomainSeen | undefined): void {
    const before = this.#seen.get(uuid);
    if (seen === undefined) this.#seen.delete(uuid);
    else this.#seen.set(uuid, seen);
    if (!same(before, seen)) this.opts.onChange(uuid, seen, before);
  }
}

const same = (a: DomainSeen | undefined, b: DomainSeen | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && JSON.stringify(a) === JSON.stringify(b));
