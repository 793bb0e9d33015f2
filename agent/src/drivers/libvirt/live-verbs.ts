/**
 * What is changed of a guest's hardware while it runs: vCPUs, balloon, devices. Each asks QEMU, so each has a deadline. The
 * stored definition is never touched here.
 */
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { DomainCache } from './domain-cache.ts';
import { isDeadline } from './errors.ts';
import { frozen, GUEST_DEADLINE_MS } from './guest-verbs.ts';
import type { Pool } from './pool.ts';
import { isActive, powerOf } from './power.ts';
import { PROC, type Procedure } from './procedures.ts';
import { READ_DEADLINE_MS, refOf } from './read-domain.ts';
import type { DomainRef } from './types.ts';

/** VIR_DOMAIN_AFFECT_LIVE */
const LIVE = 1;
/** VIR_DOMAIN_DEVICE_MODIFY_FORCE */
const FORCE = 4;

export interface LiveVerbOptions {
  readonly quick: Pool;
  readonly guest: Pool;
  readonly cache: DomainCache;
  readonly log: Log;
}

export class LiveVerbs {
  constructor(readonly opts: LiveVerbOptions) {}

  async getRunningXml(uuid: string): Promise<string> {
    const dom = this.#ref(uuid);
    const what = `show domain ${dom.name}`;
    const state = await this.opts.quick.call(PROC.getState, { dom, flags: 0 }, what, READ_DEADLINE_MS);
    const { power } = powerOf(state.state, state.reason);
    if (!isActive(power)) throw badState(`domain ${dom.name} is ${power}`);
    return (await this.opts.quick.call(PROC.getXml, { dom, flags: 0 }, what, READ_DEADLINE_MS)).xml;
  }

  async setVcpus(uuid: string, vcpus: number): Promise<void> {
    const dom = this.#ref(uuid);
    await this.#ask(PROC.setVcpus, { dom, vcpus, flags: LIVE }, 'set the vCPUs of', dom);
    await this.#readAgain(uuid);
  }

  async setMemory(uuid: string, memoryBytes: number): Promise<void> {
    const dom = this.#ref(uuid);
    const kib = BigInt(Math.floor(memoryBytes / 1024));
    await this.#ask(PROC.setMemory, { dom, kib, flags: LIVE }, 'set the memory of', dom);
    await this.#readAgain(uuid);
  }

  async updateDevice(uuid: string, xml: string, force: boolean): Promise<void> {
    const dom = this.#ref(uuid);
    const args = { dom, xml, flags: force ? LIVE | FORCE : LIVE };
    await this.#ask(PROC.updateDevice, args, 'change a device of', dom);
  }

  #ref(uuid: string): DomainRef {
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

  /** The verb is done; if the domain can't be read now, events will bring its state. */
  async #readAgain(uuid: string): Promise<void> {
    await this.opts.cache.refresh(uuid, false).catch((e: unknown) => {
      this.opts.log.debug({ err: e, uuid }, 'a domain could not be read after a change');
      this.opts.cache.refreshSoon(uuid, false);
    });
  }
}
