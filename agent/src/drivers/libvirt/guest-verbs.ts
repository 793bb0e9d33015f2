/**
 * What is done to a guest that runs: reboot, reset, suspend, resume, keys, a picture. Each asks QEMU, so each has a short deadline: a QEMU
 * that is frozen never answers. Defining, starting and ending domains is domain-verbs.ts's.
 */
import type { Duplex, Readable } from 'node:stream';
import { badState, chain, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { DisplayKind, DomainPower, Progress } from '../hypervisor.ts';
import type { DomainCache } from './domain-cache.ts';
import type { Connection } from './connection.ts';
import { CODE, hasCode, isDeadline } from './errors.ts';
import { openDisplay } from './display.ts';
import { beforeDeadline, type Pool } from './pool.ts';
import { openStream } from './stream.ts';
import { powerOf } from './power.ts';
import { PROC, type Procedure } from './procedures.ts';
import { READ_DEADLINE_MS, refOf } from './read-domain.ts';
import type { SavedMemory } from './saved-memory.ts';
import type { DomainRef } from './types.ts';

export const GUEST_DEADLINE_MS = 20_000;
/** Memory of hundreds of GiB, and a slow disk. */
const SAVE_DEADLINE_MS = 3_600_000;
const ACPI_POWER_BUTTON = 1;
const LINUX_KEYS = 0;
const HOLD_MS = 50;
const LOOK_EVERY_MS = 500;

export interface GuestVerbOptions {
  readonly quick: Pool;
  /** For what takes long. */
  readonly start: Pool;
  readonly guest: Pool;
  readonly cache: DomainCache;
  readonly log: Log;
  readonly clock: Clock;
  readonly saved: SavedMemory;
  dialStream(): Promise<Connection>;
}

export class GuestVerbs {
  constructor(readonly opts: GuestVerbOptions) {}

  /** By the power button, as a shutdown: by default libvirt would first wait for a guest agent that may hang. */
  async reboot(uuid: string): Promise<void> {
    const dom = this.#ref(uuid);
    await this.#ask(PROC.reboot, { dom, flags: ACPI_POWER_BUTTON }, 'reboot', dom);
    await this.#readAgain(uuid);
  }

  async reset(uuid: string): Promise<void> {
    const dom = this.#ref(uuid);
    await this.#ask(PROC.reset, { dom, flags: 0 }, 'reset', dom);
    await this.#readAgain(uuid);
  }

  async suspend(uuid: string): Promise<void> {
    const dom = this.#ref(uuid);
    await this.#ask(PROC.suspend, { dom }, 'suspend', dom);
    await this.#readAgain(uuid);
  }

  /** A guest that put itself to sleep is woken: resuming its CPUs would not do. */
  async resume(uuid: string): Promise<void> {
    const dom = this.#ref(uuid);
    try {
      if ((await this.#power(dom)) === 'suspended') await this.#ask(PROC.wakeUp, { dom, flags: 0 }, 'wake up', dom);
      else await this.#ask(PROC.resume, { dom }, 'resume', dom);
    } catch (e) {
      if (!hasCode(e, CODE.operationInvalid)) throw e;
      if ((await this.#power(dom)) !== 'running') {
        await this.#readAgain(uuid); // it is not what it was taken for
        throw e;
      }
    }
    await this.#readAgain(uuid);
  }

  async save(uuid: string, signal: AbortSignal, progress?: Progress): Promise<void> {
    const dom = this.#ref(uuid);
    const over = new AbortController();
    const stop = (): void => void this.#abortJob(dom);
    signal.addEventListener('abort', stop, { once: true });
    try {
      if (signal.aborted) throw new ClusterError('CANCELLED', `saving vm ${dom.name} was cancelled`);
      if (progress) void this.#follow(dom, progress, over.signal);
      await this.opts.start.call(PROC.managedSave, { dom, flags: 0 }, `save domain ${dom.name}`, SAVE_DEADLINE_MS);
    } catch (e) {
      if (!hasCode(e, CODE.operationTimeout)) throw e;
      throw new ClusterError('RESOURCE_BUSY', `libvirt still works on vm ${dom.name}`, { libvirt: chain(e) });
    } finally {
      signal.removeEventListener('abort', stop);
      over.abort();
    }
    await this.#readAgain(uuid);
  }

  /** Tells how far libvirt's job is, until the signal. It is only for people: what can't be read is left out. */
  async #follow(dom: DomainRef, progress: Progress, signal: AbortSignal): Promise<void> {
    const what = `see how far the saving of ${dom.name} is`;
    while (!signal.aborted) {
      await this.opts.clock.sleep(LOOK_EVERY_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
      const job = await this.opts.guest
        .call(PROC.jobStats, { dom, flags: 0 }, what, GUEST_DEADLINE_MS)
        .catch(() => ({ params: [] }));
      const bytes = (name: string): number => Number(job.params.find((p) => p.field === name)?.value.value ?? 0);
      if (!signal.aborted && bytes('memory_total') > 0) progress(bytes('memory_processed'), bytes('memory_total'));
    }
  }

  async discardSaved(uuid: string): Promise<void> {
    await this.opts.saved.discard(this.#ref(uuid));
    await this.#readAgain(uuid);
  }

  /** What came to its end meanwhile can't be aborted, and need not be. */
  async #abortJob(dom: DomainRef): Promise<void> {
    const asked = this.opts.quick.call(PROC.abortJob, { dom }, `end the saving of ${dom.name}`, READ_DEADLINE_MS);
    await asked.catch((e: unknown) => this.opts.log.info({ err: e, domain: dom.name }, 'a save could not be ended'));
  }

  async injectNmi(uuid: string): Promise<void> {
    const dom = this.#ref(uuid);
    await this.#ask(PROC.injectNmi, { dom, flags: 0 }, 'send an NMI to', dom);
  }

  async sendKeys(uuid: string, codes: readonly number[]): Promise<void> {
    const dom = this.#ref(uuid);
    const args = { dom, codeset: LINUX_KEYS, holdMs: HOLD_MS, codes, flags: 0 };
    await this.#ask(PROC.sendKey, args, 'send keys to', dom);
  }

  async screenshot(uuid: string): Promise<Readable> {
    const dom = this.#ref(uuid);
    const connection = await this.opts.dialStream();
    const what = `take a picture of domain ${dom.name}`;
    const opening = openStream(connection, PROC.screenshot, { dom, screen: 0, flags: 0 }, what);
    try {
      return await beforeDeadline(this.opts.clock, opening, GUEST_DEADLINE_MS, () => {
        connection.close('the picture did not come in time');
        return frozen('take a picture of', dom);
      });
    } catch (e) {
      if (!hasCode(e, CODE.operationInvalid) || (await this.#power(dom)) === 'stopped') throw e;
      throw badState(`vm ${dom.name} has no screen; one that ran before Berth gave it one gets it at its next start`);
    }
  }

  async openDisplay(uuid: string, kind: DisplayKind): Promise<Duplex> {
    const dom = this.#ref(uuid);
    const { quick, clock } = this.opts;
    const { xml } = await quick.call(PROC.getXml, { dom, flags: 0 }, `show domain ${dom.name}`, READ_DEADLINE_MS);
    if ((await this.#power(dom)) === 'stopped') throw badState(`vm ${dom.name} is stopped: it shows nothing`);
    return openDisplay(dom.name, xml, kind, clock);
  }

  #ref(uuid: string): DomainRef {
    return refOf(uuid, this.opts.cache.find(uuid)?.name);
  }

  async #ask<A, R>(procedure: Procedure<A, R>, args: A, verb: string, dom: DomainRef): Promise<R> {
    try {
      return await this.opts.guest.call(procedure, args, `${verb} domain ${dom.name}`, GUEST_DEADLINE_MS);
    } catch (e) {
      throw isDeadline(e) ? frozen(verb, dom) : e;
    }
  }

  async #power(dom: DomainRef): Promise<DomainPower> {
    const what = `read the state of domain ${dom.name}`;
    const state = await this.opts.quick.call(PROC.getState, { dom, flags: 0 }, what, READ_DEADLINE_MS);
    return powerOf(state.state, state.reason).power;
  }

  /** The verb is done; if the domain can't be read now, events will bring its state. */
  async #readAgain(uuid: string): Promise<void> {
    await this.opts.cache.refresh(uuid, false).catch((e: unknown) => {
      this.opts.log.debug({ err: e, uuid }, 'a domain could not be read after a change');
      this.opts.cache.refreshSoon(uuid, false);
    });
  }
}

/** @param verb as it would stand before "vm web" */
export function frozen(verb: string, { name }: DomainRef): ClusterError {
  const words = `the QEMU of vm ${name} has not answered for ${GUEST_DEADLINE_MS / 1000} s: it may be frozen, and nobody can tell whether "${verb}" reached it`;
  return new ClusterError('DEADLINE_EXCEEDED', words);
}
