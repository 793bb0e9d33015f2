/**
 * What can be done with a domain: each verb is an ensure, so that twice is once. After each, the domain is read again, so
 * that a list shows what the caller just did. The connection being up is the caller's care.
 */
import type { Duplex } from 'node:stream';
import { XMLParser } from 'fast-xml-parser';
import { alreadyExists, badState, chain, ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { consoleTaken, type DomainSeen } from '../hypervisor.ts';
import type { Connection } from './connection.ts';
import type { DomainCache } from './domain-cache.ts';
import { CODE, deadlinePassed, hasCode } from './errors.ts';
import { beforeDeadline } from './pool.ts';
import type { Pool } from './pool.ts';
import { isActive, powerOf } from './power.ts';
import { PROC } from './procedures.ts';
import { READ_DEADLINE_MS, refOf } from './read-domain.ts';
import type { SavedMemory } from './saved-memory.ts';
import { openStream } from './stream.ts';
import type { DomainRef } from './types.ts';

/** Huge pages and cold storage take minutes. A dead libvirtd is noticed by keepalive, long before. */
const START_DEADLINE_MS = 600_000;
const STOP_DEADLINE_MS = 120_000;
const CONSOLE_DEADLINE_MS = 15_000;

const ACPI_POWER_BUTTON = 1;
const CONSOLE_FORCE = 1;
/** Managed save, snapshot metadata, NVRAM, checkpoint metadata. */
const UNDEFINE_EVERYTHING = 0x1 | 0x2 | 0x4 | 0x10;

/** VIR_DOMAIN_XML_SECURE: with the passwords of its screens. VIR_DOMAIN_XML_INACTIVE: the stored definition. */
const STORED_WITH_SECRETS = 1 | 2;

export interface VerbOptions {
  readonly quick: Pool;
  readonly start: Pool;
  readonly stop: Pool;
  readonly cache: DomainCache;
  readonly clock: Clock;
  readonly log: Log;
  readonly saved: SavedMemory;
  dialStream(): Promise<Connection>;
}

export class DomainVerbs {
  constructor(readonly opts: VerbOptions) {}

  async define(xml: string): Promise<DomainSeen> {
    const wanted = identityIn(xml);
    const what = `define domain ${wanted.name ?? ''}`.trim();
    try {
      const { dom } = await this.opts.quick.call(PROC.define, { xml, flags: 0 }, what, READ_DEADLINE_MS);
      const seen = await this.opts.cache.refresh(dom.uuid, true);
      if (seen === undefined) throw notFound(`domain ${dom.name} was removed right after it was defined`);
      return seen;
    } catch (e) {
      if (hasCode(e, CODE.operationFailed)) await this.#explainConflict(wanted, e);
      throw e;
    }
  }

  async undefine(uuid: string): Promise<void> {
    const dom = this.#ref(uuid);
    const power = await this.#power(dom);
    if (power === undefined) return this.#readAgain(uuid);
    // libvirt would make a running domain transient instead of refusing.
    if (isActive(power)) throw badState(`domain ${dom.name} is ${power}; stop it before it is removed`);
    const args = { dom, flags: UNDEFINE_EVERYTHING };
    await this.opts.quick
      .call(PROC.undefine, args, `remove domain ${dom.name}`, READ_DEADLINE_MS)
      .catch(unless(CODE.noDomain));
    await this.#readAgain(uuid);
  }

  async start(uuid: string): Promise<void> {
    const dom = this.#ref(uuid);
    await this.opts.saved.check(dom);
    try {
      await this.opts.start.call(PROC.create, { dom, flags: 0 }, `start domain ${dom.name}`, START_DEADLINE_MS);
    } catch (e) {
      if (!hasCode(e, CODE.operationInvalid) || (await this.#power(dom)) !== 'running') throw e;
    }
    await this.#readAgain(uuid);
  }

  async shutdown(uuid: string): Promise<void> {
    const dom = this.#ref(uuid);
    const what = `shut down domain ${dom.name}`;
    try {
      // ACPI only: by default libvirt would first wait for a guest agent that may hang.
      await this.opts.stop.call(PROC.shutdown, { dom, flags: ACPI_POWER_BUTTON }, what, STOP_DEADLINE_MS);
    } catch (e) {
      if (!hasCode(e, CODE.operationInvalid) || (await this.#runs(dom))) throw e;
    }
  }

  async destroy(uuid: string): Promise<void> {
    const dom = this.#ref(uuid);
    try {
      await this.opts.stop.call(PROC.destroy, { dom, flags: 0 }, `force off domain ${dom.name}`, STOP_DEADLINE_MS);
    } catch (e) {
      if (!hasCode(e, CODE.operationInvalid, CODE.noDomain) || (await this.#runs(dom))) throw e;
    }
    await this.#readAgain(uuid);
  }

  async getXml(uuid: string): Promise<string> {
    const dom = this.#ref(uuid);
    // the stored definition: what runs may be an older one
    return (
      await this.opts.quick.call(
        PROC.getXml,
        { dom, flags: STORED_WITH_SECRETS },
        `show domain ${dom.name}`,
        READ_DEADLINE_MS,
      )
    ).xml;
  }

  async openConsole(uuid: string, force: boolean): Promise<Duplex> {
    const dom = this.#ref(uuid);
    const what = `open the console of domain ${dom.name}`;
    const connection = await this.opts.dialStream();
    const args = { dom, device: undefined, flags: force ? CONSOLE_FORCE : 0 };
    const opening = openStream(connection, PROC.openConsole, args, what);
    try {
      return await beforeDeadline(this.opts.clock, opening, CONSOLE_DEADLINE_MS, () => {
        connection.close('the console did not open in time');
        return deadlinePassed(what, CONSOLE_DEADLINE_MS);
      });
    } catch (e) {
      if (force || !hasCode(e, CODE.operationFailed)) throw e;
      const words = consoleTaken(dom.name);
      // libvirt's own words add nothing for people
      throw new ClusterError('RESOURCE_BUSY', words, { libvirt: chain(e) });
    }
  }

  #ref(uuid: string): DomainRef {
    return refOf(uuid, this.opts.cache.find(uuid)?.name);
  }

  async #power(dom: DomainRef): Promise<DomainSeen['power'] | undefined> {
    const args = { dom, flags: 0 };
    const state = await this.opts.quick
      .call(PROC.getState, args, `read the state of domain ${dom.name}`, READ_DEADLINE_MS)
      .catch(unless(CODE.noDomain));
    return state === undefined ? undefined : powerOf(state.state, state.reason).power;
  }

  async #runs(dom: DomainRef): Promise<boolean> {
    const power = await this.#power(dom);
    return power !== undefined && isActive(power);
  }

  /** The verb is done; if the domain can't be read now, events will bring its state. */
  async #readAgain(uuid: string): Promise<void> {
    const definition = this.opts.cache.find(uuid) === undefined;
    await this.opts.cache.refresh(uuid, definition).catch((e: unknown) => {
      this.opts.log.debug({ err: e, uuid }, 'a domain could not be read after a change');
      this.opts.cache.refreshSoon(uuid, definition);
    });
  }

  /** libvirt refuses a taken name or uuid with the code it uses for everything; so look. */
  async #explainConflict(wanted: Identity, cause: unknown): Promise<void> {
    const what = 'look for a domain of that name';
    const ignore = (): undefined => undefined;
    const byName =
      wanted.name === undefined
        ? undefined
        : await this.opts.quick.call(PROC.lookupByName, { name: wanted.name }, what, READ_DEADLINE_MS).catch(ignore);
    if (byName !== undefined && byName.dom.uuid !== wanted.uuid)
      throw alreadyExists(`a domain named ${byName.dom.name} exists (uuid ${byName.dom.uuid})`, {}, cause);
    const byUuid =
      wanted.uuid === undefined
        ? undefined
        : await this.opts.quick.call(PROC.lookupByUuid, { uuid: wanted.uuid }, what, READ_DEADLINE_MS).catch(ignore);
    if (byUuid !== undefined && byUuid.dom.name !== wanted.name)
      throw alreadyExists(`uuid ${byUuid.dom.uuid} belongs to domain ${byUuid.dom.name}`, {}, cause);
  }
}

/** Swallows libvirt's answer with this number. */
const unless =
  (code: number) =>
  (e: unknown): undefined => {
    if (!hasCode(e, code)) throw e;
    return undefined;
  };

interface Identity {
  readonly name: string | undefined;
  readonly uuid: string | undefined;
}

const parser = new XMLParser({ ignoreAttributes: true, parseTagValue: false, processEntities: false });

/** Name and uuid in a definition, for messages only; libvirt judges the XML. */
function identityIn(xml: string): Identity {
  try {
    const { domain } = parser.parse(xml) as { domain?: { name?: unknown; uuid?: unknown } };
    const text = (v: unknown): string | undefined => (typeof v === 'string' && v !== '' ? v : undefined);
    return { name: text(domain?.name), uuid: text(domain?.uuid)?.toLowerCase() };
  } catch {
    return { name: undefined, uuid: undefined };
  }
}
