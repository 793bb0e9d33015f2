/** Devices of a guest that runs, over libvirt's RPC. A removal is a question to the guest; events tell what became of it. */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { DeviceVerbs } from '../device-verbs.ts';
import type { DomainCache } from './domain-cache.ts';
import { CODE, hasCode, isDeadline } from './errors.ts';
import { frozen, GUEST_DEADLINE_MS } from './guest-verbs.ts';
import type { Pool } from './pool.ts';
import { PROC, type Procedure } from './procedures.ts';
import { refOf } from './read-domain.ts';
import type { DomainRef } from './types.ts';

/** VIR_DOMAIN_AFFECT_LIVE */
const LIVE = 1;
/** VIR_DOMAIN_BLOCK_RESIZE_BYTES */
const BYTES = 1;
/** A guest that lets go does so within a second or two; one that boots, later. */
const REMOVAL_MS = 15_000;

export interface DeviceVerbOptions {
  readonly guest: Pool;
  readonly cache: DomainCache;
  readonly clock: Clock;
  ready(what: string): Promise<void>;
}

export interface DeviceEvent {
  readonly uuid: string;
  readonly alias: string;
}

export class LibvirtDevices implements DeviceVerbs {
  readonly #waiting = new Set<{ readonly uuid: string; readonly alias: string; wake(): void }>();

  constructor(private readonly opts: DeviceVerbOptions) {}

  /** That a device is gone, or will not go. */
  tell({ uuid, alias }: DeviceEvent): void {
    for (const w of this.#waiting) if (w.uuid === uuid && w.alias === alias) w.wake();
  }

  async resizeDisk(uuid: string, target: string, sizeBytes: number): Promise<void> {
    const dom = await this.#dom(uuid, 'resize a disk of');
    const args = { dom, disk: target, size: BigInt(sizeBytes), flags: BYTES };
    try {
      await this.#ask(PROC.blockResize, args, 'resize a disk of', dom);
    } catch (e) {
      if (!hasCode(e, CODE.blockCopyActive)) throw e;
      throw new ClusterError(
        'RESOURCE_BUSY',
        `disk ${target} of domain ${dom.name} is being copied by libvirt. Try again when that has ended`,
      );
    }
  }

  async attach(uuid: string, xml: string): Promise<void> {
    const dom = await this.#dom(uuid, 'attach a device to');
    await this.#ask(PROC.attachDevice, { dom, xml, flags: LIVE }, 'attach a device to', dom);
  }

  async detach(uuid: string, xml: string, alias: string): Promise<void> {
    const dom = await this.#dom(uuid, 'detach a device from');
    const over = new AbortController();
    const waiting = { uuid, alias, wake: () => over.abort() };
    this.#waiting.add(waiting);
    try {
      await this.#ask(PROC.detachDevice, { dom, xml, flags: LIVE }, 'detach a device from', dom).catch((e: unknown) => {
        // asked before, and the guest still thinks about it
        if (!hasCode(e, CODE.operationFailed) || !/unplug|in the process/i.test(String(e))) throw e;
      });
      await this.opts.clock.sleep(REMOVAL_MS, over.signal).catch(() => undefined);
    } finally {
      this.#waiting.delete(waiting);
    }
  }

  async #dom(uuid: string, verb: string): Promise<DomainRef> {
    await this.opts.ready(`${verb} domain ${uuid}`);
    return refOf(uuid, this.opts.cache.find(uuid)?.name);
  }

  async #ask<A, R>(procedure: Procedure<A, R>, args: A, verb: string, dom: DomainRef): Promise<R> {
    try {
      return await this.opts.guest.call(procedure, args, `${verb} domain ${dom.name}`, GUEST_DEADLINE_MS);
    } catch (e) {
      if (isDeadline(e)) throw frozen(verb, dom);
      throw e;
    }
  }
}
