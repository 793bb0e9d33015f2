/**
 * The Hypervisor interface over libvirt's RPC. Connections by role: one for events (nothing that takes a domain's lock
 * runs on it after it is up), up to two each for short calls, for starts, for stops (a force-off never waits behind
 * starts) and for statistics, opened when needed, and one per console. What each verb means is in domain-verbs.ts.
 */
import type { Duplex, Readable } from 'node:stream';
import type { Log } from '@berth/shared/log/log.ts';
import { chain } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Random } from '@berth/shared/runtime/random.ts';
import type {
  DisplayKind,
  DomainSeen,
  DomainStats,
  Hypervisor,
  HypervisorEvent,
  HypervisorInfo,
  MachineAbilities,
  Progress,
  SilentDomain,
} from '../hypervisor.ts';
import { readCapabilities, readMachineAbilities, versionText } from './capabilities.ts';
import type { Connection, ConnectionOptions } from './connection.ts';
import { LibvirtCpus } from './cpu-verbs.ts';
import { dial, type DialOptions } from './dial.ts';
import { LibvirtDevices } from './device-verbs.ts';
import { DomainCache } from './domain-cache.ts';
import { DomainVerbs } from './domain-verbs.ts';
import { LibvirtDiskCopies } from './disk-copies.ts';
import { LibvirtGuestAgents } from './guest-agents.ts';
import { GuestVerbs } from './guest-verbs.ts';
import { handleEvent, registerEvents } from './events.ts';
import { Link } from './link.ts';
import { BackupVerbs } from './backup-verbs.ts';
import { LiveVerbs } from './live-verbs.ts';
import { beforeDeadline, Pool } from './pool.ts';
import { PROC } from './procedures.ts';
import { readDomain, READ_DEADLINE_MS, refOf } from './read-domain.ts';
import { SavedMemory } from './saved-memory.ts';
import { LibvirtSnapshots } from './snapshot-verbs.ts';
import { StatsCollector } from './stats.ts';
import { deadlinePassed } from './errors.ts';

export interface LibvirtOptions {
  /** `/run/libvirt/libvirt-sock` or `/run/libvirt/virtqemud-sock`; a function is asked for every connection. */
  readonly socketPath: string | (() => string);
  /** Default `qemu:///system`. */
  readonly uri?: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Told of each call of a procedure. */
  readonly onCall?: ConnectionOptions['onCall'];
}

/** The list is blocked while any domain is being launched. */
const LIST_DEADLINE_MS = 60_000;
/**
 * We ping, and libvirt does not: each of its pings would wake the agent and be answered. A daemon that has said nothing is asked every ten
 * seconds, and given up after two questions, 30 to 40 s. That an agent has ended libvirt sees by its socket.
 */
const MAIN_PINGS = { withoutServerPings: true, pingIntervalMs: 10_000, pingCount: 2 } as const;

export const createLibvirtHypervisor = (opts: LibvirtOptions): Hypervisor => new LibvirtHypervisor(opts);

class LibvirtHypervisor implements Hypervisor {
  readonly #listeners = new Set<(e: HypervisorEvent) => void>();
  readonly #cache: DomainCache;
  readonly #pools: Readonly<Record<'quick' | 'start' | 'stop' | 'guest' | 'agent' | 'stats', Pool>>;
  readonly #stats: StatsCollector;
  readonly #verbs: DomainVerbs;
  readonly #guests: GuestVerbs;
  readonly #live: LiveVerbs;
  readonly #backups: BackupVerbs;
  readonly #saved: SavedMemory;
  readonly #link: Link;
  readonly guests: LibvirtGuestAgents;
  readonly devices: LibvirtDevices;
  readonly copies: LibvirtDiskCopies;
  readonly snapshots: LibvirtSnapshots;
  readonly cpus: LibvirtCpus;
  #main: Connection | undefined;
  #info: Promise<HypervisorInfo> | undefined;
  #lastFailure: string | undefined;
  /** Changes found while the link comes up; told after `connected`. */
  #held: HypervisorEvent[] = [];

  constructor(readonly opts: LibvirtOptions) {
    this.#pools = {
      ...{ quick: this.#pool(2), start: this.#pool(2), stop: this.#pool(2) },
      // apart from `stop`: a guest whose QEMU is frozen holds what asks it, and must be forced off all the same
      ...{ guest: this.#pool(2), agent: this.#pool(3), stats: this.#pool(2) },
    };
    this.#cache = new DomainCache({
      clock: opts.clock,
      read: (uuid, known) => readDomain(this.#pools.quick, uuid, known),
      onChange: (uuid, seen, before) => this.#onChange(uuid, seen, before),
      mayRetry: () => this.#main !== undefined && this.#main.closedWhy === undefined,
    });
    this.#stats = new StatsCollector({
      ...{ ...opts, pool: this.#pools.stats, domains: () => this.#cache.list() },
      inactive: (uuid) => this.#cache.refreshSoon(uuid, false),
    });
    const saved = (this.#saved = new SavedMemory({ pool: this.#pools.quick }));
    const dialStream = () => this.#dial({ withoutServerPings: true });
    this.#verbs = new DomainVerbs({
      ...this.#pools,
      log: opts.log,
      clock: opts.clock,
      cache: this.#cache,
      saved,
      dialStream,
    });
    this.#backups = new BackupVerbs({ ...this.#pools, ...opts, cache: this.#cache });
    this.#live = new LiveVerbs({ ...this.#pools, log: opts.log, cache: this.#cache });
    this.#guests = new GuestVerbs({ ...this.#pools, ...opts, cache: this.#cache, saved, dialStream });
    this.guests = new LibvirtGuestAgents({
      ...{ agent: this.#pools.agent, quick: this.#pools.quick, cache: this.#cache, clock: opts.clock },
      ready: (what) => this.#link.ready(what),
    });
    this.devices = new LibvirtDevices({
      ...{ guest: this.#pools.guest, cache: this.#cache, clock: opts.clock },
      ready: (what) => this.#link.ready(what),
    });
    this.copies = new LibvirtDiskCopies({
      ...{ guest: this.#pools.guest, cache: this.#cache },
      ready: (what) => this.#link.ready(what),
    });
    this.snapshots = new LibvirtSnapshots({
      ...{ ...this.#pools, cache: this.#cache, clock: opts.clock },
      ready: (what) => this.#link.ready(what),
    });
    this.cpus = new LibvirtCpus({ quick: this.#pools.quick, ready: (what) => this.#link.ready(what) });
    this.#link = this.#createLink();
  }

  async info(): Promise<HypervisorInfo> {
    await this.#link.ready('describe itself');
    this.#info ??= this.#readInfo().catch((e: unknown) => {
      this.#info = undefined;
      throw e;
    });
    return this.#info;
  }

  async machineAbilities(machine: string, domainType: string): Promise<MachineAbilities> {
    const what = `tell what a machine ${machine} can have`;
    await this.#link.ready(what);
    const args = { emulator: undefined, arch: 'x86_64', machine, domainType, flags: 0 };
    const { xml } = await this.#pools.quick.call(PROC.domainCapabilities, args, what, LIST_DEADLINE_MS);
    return readMachineAbilities(xml);
  }

  async list(): Promise<readonly DomainSeen[]> {
    await this.#link.ready('list domains');
    return this.#cache.list();
  }

  async define(xml: string): Promise<DomainSeen> {
    await this.#link.ready('define a domain');
    return this.#verbs.define(xml);
  }

  async undefine(uuid: string): Promise<void> {
    await this.#link.ready(`remove domain ${uuid}`);
    return this.#verbs.undefine(uuid);
  }

  async start(uuid: string): Promise<void> {
    await this.#link.ready(`start domain ${uuid}`);
    return this.#verbs.start(uuid);
  }

  async shutdown(uuid: string): Promise<void> {
    await this.#link.ready(`shut down domain ${uuid}`);
    return this.#verbs.shutdown(uuid);
  }

  async destroy(uuid: string): Promise<void> {
    await this.#link.ready(`force off domain ${uuid}`);
    return this.#verbs.destroy(uuid);
  }

  async reboot(uuid: string): Promise<void> {
    await this.#link.ready(`reboot domain ${uuid}`);
    return this.#guests.reboot(uuid);
  }

  async reset(uuid: string): Promise<void> {
    await this.#link.ready(`reset domain ${uuid}`);
    return this.#guests.reset(uuid);
  }

  async suspend(uuid: string): Promise<void> {
    await this.#link.ready(`suspend domain ${uuid}`);
    return this.#guests.suspend(uuid);
  }

  async resume(uuid: string): Promise<void> {
    await this.#link.ready(`resume domain ${uuid}`);
    return this.#guests.resume(uuid);
  }

  async save(uuid: string, signal: AbortSignal, progress?: Progress): Promise<void> {
    await this.#link.ready(`save domain ${uuid}`);
    return this.#guests.save(uuid, signal, progress);
  }

  async backup(...args: Parameters<BackupVerbs['backup']>): Promise<void> {
    await this.#link.ready(`copy the disks of domain ${args[0]}`);
    return this.#backups.backup(...args);
  }

  async discardSaved(uuid: string): Promise<void> {
    await this.#link.ready(`discard the saved memory of domain ${uuid}`);
    return this.#guests.discardSaved(uuid);
  }

  async injectNmi(uuid: string): Promise<void> {
    await this.#link.ready(`send an NMI to domain ${uuid}`);
    return this.#guests.injectNmi(uuid);
  }

  async sendKeys(uuid: string, codes: readonly number[]): Promise<void> {
    await this.#link.ready(`send keys to domain ${uuid}`);
    return this.#guests.sendKeys(uuid, codes);
  }

  async screenshot(uuid: string): Promise<Readable> {
    await this.#link.ready(`take a picture of domain ${uuid}`);
    return this.#guests.screenshot(uuid);
  }

  async getXml(uuid: string): Promise<string> {
    await this.#link.ready(`show domain ${uuid}`);
    return this.#verbs.getXml(uuid);
  }

  async getRunningXml(uuid: string): Promise<string> {
    await this.#link.ready(`show domain ${uuid}`);
    return this.#live.getRunningXml(uuid);
  }

  async getSavedXml(uuid: string): Promise<string | undefined> {
    await this.#link.ready(`show what was saved of domain ${uuid}`);
    return this.#saved.xml(refOf(uuid, this.#cache.find(uuid)?.name));
  }

  async setVcpus(uuid: string, vcpus: number): Promise<void> {
    await this.#link.ready(`set the vCPUs of domain ${uuid}`);
    return this.#live.setVcpus(uuid, vcpus);
  }

  async setMemory(uuid: string, memoryBytes: number): Promise<void> {
    await this.#link.ready(`set the memory of domain ${uuid}`);
    return this.#live.setMemory(uuid, memoryBytes);
  }

  async updateDevice(uuid: string, xml: string, force: boolean): Promise<void> {
    await this.#link.ready(`change a device of domain ${uuid}`);
    return this.#live.updateDevice(uuid, xml, force);
  }

  silent(): readonly SilentDomain[] {
    return this.#stats.silent();
  }

  async stats(deadlineMs: number, vcpus = false): Promise<readonly DomainStats[]> {
    await this.#link.ready('read statistics');
    return this.#stats.collect(deadlineMs, vcpus);
  }

  async openConsole(uuid: string, force: boolean): Promise<Duplex> {
    await this.#link.ready(`open the console of domain ${uuid}`);
    return this.#verbs.openConsole(uuid, force);
  }

  async openDisplay(uuid: string, kind: DisplayKind): Promise<Duplex> {
    await this.#link.ready(`open the display of domain ${uuid}`);
    return this.#guests.openDisplay(uuid, kind);
  }

  subscribe(listener: (e: HypervisorEvent) => void): () => void {
    this.#listeners.add(listener);
    if (this.#link.isUp) listener({ type: 'connected' });
    return () => void this.#listeners.delete(listener);
  }

  close(): Promise<void> {
    this.#link.close();
    for (const pool of Object.values(this.#pools)) pool.close('the driver is closed');
    this.#main?.close('the driver is closed');
    return Promise.resolve();
  }

  #createLink(): Link {
    const { clock, random } = this.opts;
    return new Link({
      clock,
      random,
      dial: () => this.#dial({ ...MAIN_PINGS, onEvent: (procedure, payload) => this.#onEvent(procedure, payload) }),
      bringUp: (connection) => this.#bringUp(connection),
      onUp: () => this.#onUp(),
      onDown: (why) => this.#onDown(why),
      onAttemptFailed: (why) => this.#onAttemptFailed(why),
    });
  }

  #dial(more: Partial<DialOptions>): Promise<Connection> {
    const { socketPath: path, clock, onCall, uri = 'qemu:///system' } = this.opts;
    const socketPath = typeof path === 'string' ? path : path();
    return dial({ socketPath, uri, clock, ...(onCall && { onCall }), ...more });
  }

  /**
   * Without pings: each of its calls has a deadline, and a daemon that answers nobody is noticed on the main connection, which takes
   * the others down with it. A dozen idle connections that ping would be half of what an agent does.
   */
  #pool(connections: number): Pool {
    const dial = () => this.#dial({ withoutServerPings: true, pingIntervalMs: 0 });
    return new Pool({ clock: this.opts.clock, connections, dial });
  }

  /** Events first, then the list: what changes in between is seen twice rather than never. */
  async #bringUp(connection: Connection): Promise<void> {
    this.#main = connection;
    this.#held = [];
    await registerEvents(connection, this.opts.log);
    const listing = connection.call(PROC.listDomains, { needResults: 1, flags: 0 }, 'list domains');
    const { domains } = await beforeDeadline(this.opts.clock, listing, LIST_DEADLINE_MS, () =>
      deadlinePassed('list domains', LIST_DEADLINE_MS),
    );
    await this.#cache.sync(domains);
  }

  #onUp(): void {
    this.#lastFailure = undefined;
    this.opts.log.info({ domains: this.#cache.list().length }, 'connected to libvirt');
    this.#emit({ type: 'connected' });
    for (const e of this.#held.splice(0)) this.#emit(e);
  }

  /** Once per reason: the attempts go on for as long as libvirt is away. */
  #onAttemptFailed(why: string): void {
    this.opts.log[why === this.#lastFailure ? 'debug' : 'warn'](`libvirt is not available: ${why}`);
    this.#lastFailure = why;
  }

  #onDown(why: string): void {
    this.#info = undefined;
    for (const pool of Object.values(this.#pools)) pool.disconnect(why);
    this.opts.log.warn(`lost libvirt: ${why}`);
    this.#emit({ type: 'disconnected', why });
  }

  #onEvent(procedure: number, payload: Buffer): void {
    handleEvent(procedure, payload, {
      log: this.opts.log,
      changed: (dom, definitionChanged) =>
        this.#cache.refreshSoon(dom.uuid, definitionChanged || this.#cache.find(dom.uuid) === undefined),
      guest: (e) => this.guests.tell(e),
      device: (e) => this.devices.tell(e),
    });
  }

  #onChange(uuid: string, seen: DomainSeen | undefined, before: DomainSeen | undefined): void {
    if (seen?.power !== before?.power) this.#stats.powerChanged(uuid);
    const event: HypervisorEvent = { type: 'domain', uuid, seen };
    if (this.#link.isUp) this.#emit(event);
    else this.#held.push(event);
  }

  #emit(event: HypervisorEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (e) {
        this.opts.log.error({ err: e }, `a listener failed on "${event.type}": ${chain(e)}`);
      }
    }
  }

  async #readInfo(): Promise<HypervisorInfo> {
    const pool = this.#pools.quick;
    const what = 'describe itself';
    const [lib, qemu, capabilities] = await Promise.all([
      pool.call(PROC.libVersion, undefined, what, READ_DEADLINE_MS),
      pool.call(PROC.version, undefined, what, READ_DEADLINE_MS),
      pool.call(PROC.capabilities, undefined, what, LIST_DEADLINE_MS),
    ]);
    return {
      libvirtVersion: versionText(lib.version),
      qemuVersion: versionText(qemu.version),
      ...readCapabilities(capabilities.xml),
    };
  }
}
