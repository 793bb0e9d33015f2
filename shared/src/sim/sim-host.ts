/**
 * One host in memory, with faults: domains that boot and stop, images, volumes, uploads, bridges, a disk that can be full.
 * The simulated drivers of the agent are thin adapters over it. It keeps the promises that real hosts keep (twice is
 * once, absent is fine, a running domain can't be removed); it is not a model of time or load.
 */
import type { KeptFormat } from '../model/volume.ts';
import { ClusterError } from '../errors/cluster-error.ts';
import type { Clock } from '../runtime/clock.ts';

export type SimPower = 'running' | 'paused' | 'stopped' | 'crashed';

export interface SimDomain {
  readonly uuid: string;
  readonly name: string;
  /** The stored definition. */
  readonly xml: string;
  /** What runs, made from an earlier definition perhaps, and changed since. Of a saved one: what was saved. */
  readonly runningXml?: string | undefined;
  readonly power: SimPower;
  readonly reason:
    'none' | 'booted' | 'user' | 'shutdown' | 'destroyed' | 'crashed' | 'saved' | 'no-space' | 'io-error';
  readonly startedAtMs: number;
}

/** What a domain was at one moment. */
export interface SimSnapshot {
  readonly name: string;
  readonly description: string;
  readonly createdAtMs: number;
  readonly memory: boolean;
  readonly parent: string | undefined;
  readonly disks: readonly string[];
  readonly domain: SimDomain;
}

export interface SimImage {
  readonly digest: string;
  readonly virtualSizeBytes: number;
  readonly fileBytes: number;
}

export interface SimVolume {
  readonly volumeId: string;
  readonly vmId: string;
  readonly sizeBytes: number;
  /** Up to where it holds data, as far as tests say. */
  readonly dataBytes?: number | undefined;
  readonly imageDigest: string | undefined;
  readonly format?: KeptFormat | undefined;
  /** Of a seed: file name → content. */
  readonly files: Readonly<Record<string, string>> | undefined;
}

export interface SimBridge {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly owned: boolean;
}

export type SimGuestEntry =
  | { readonly kind: 'file'; readonly text: string | undefined }
  | { readonly kind: 'dir' }
  | { readonly kind: 'link'; readonly target: string; readonly text: string | undefined }
  | { readonly kind: 'other' };

export interface SimHostOptions {
  readonly name: string;
  readonly cpuThreads: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  /** From start to a guest that runs, and from a shutdown request to a guest that has stopped. */
  readonly bootMs: number;
  /** The named model of its CPU; absent: the newest that is simulated. */
  readonly cpu?: string;
}

/** What a test may break. All off at first. */
export interface SimFaults {
  hypervisorDown: boolean;
  /** Guests ignore the power button. */
  deafGuests: boolean;
  startFails: boolean;
  /** It lacks the programs that change guests from outside. */
  noGuestfish: boolean;
}

const isOn = (d: SimDomain): boolean => d.power === 'running' || d.power === 'paused';

export class SimHost {
  readonly domains = new Map<string, SimDomain>();
  /** By uuid, oldest first. */
  readonly snapshots = new Map<string, readonly SimSnapshot[]>();
  /** By uuid: the one that what the disks hold now has begun with. */
  readonly currentSnapshots = new Map<string, string>();
  readonly images = new Map<string, SimImage>();
  readonly volumes = new Map<string, SimVolume>();
  /** Images that are being copied here, with their sizes. */
  readonly filling = new Map<string, number>();
  /** Of these, and of those that have become whole, guests may still read through a socket. */
  readonly bases = new Set<string>();
  /** Volumes with a second file, or name: their guests move to the image's file, or have. */
  readonly moving = new Map<string, 'two files' | 'two names'>();
  readonly uploads = new Map<string, Buffer>();
  /** What has come of those that go on after a break. */
  readonly coming = new Map<string, { readonly bytes: Buffer; readonly origin?: string }>();
  readonly bridges = new Map<string, SimBridge>([['br0', { name: 'br0', addresses: ['10.77.0.1/24'], owned: false }]]);
  /** Keys and interrupts that guests got. */
  readonly pokes: string[] = [];
  readonly serialLogs = new Map<string, string>();
  /** By volume id, of guests that were changed from outside: path → what is there. */
  readonly guestFiles = new Map<string, ReadonlyMap<string, SimGuestEntry>>();
  readonly faults: SimFaults = { hypervisorDown: false, deafGuests: false, startFails: false, noGuestfish: false };
  readonly #listeners = new Set<(uuid: string) => void>();

  constructor(
    readonly options: SimHostOptions,
    private readonly clock: Clock,
  ) {}

  get diskUsedBytes(): number {
    const uploads = [...this.uploads.values()].reduce((n, u) => n + u.length, 0);
    return [...this.images.values()].reduce((n, i) => n + i.fileBytes, uploads);
  }

  /** DISK_FULL unless `bytes` more fit. */
  reserve(bytes: number): void {
    const free = this.options.diskBytes - this.diskUsedBytes;
    if (bytes > free)
      throw new ClusterError('DISK_FULL', `the pool of ${this.options.name} has ${free} bytes free of ${bytes} wanted`);
  }

  onDomain(listener: (uuid: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  define(domain: Pick<SimDomain, 'uuid' | 'name' | 'xml'>): SimDomain {
    this.#hypervisorUp();
    const other = [...this.domains.values()].find((d) => d.name === domain.name && d.uuid !== domain.uuid);
    if (other)
      throw new ClusterError(
        'ALREADY_EXISTS',
        `domain ${domain.name} exists on ${this.options.name} with uuid ${other.uuid}`,
      );
    const old = this.domains.get(domain.uuid);
    return this.#set({ power: 'stopped', reason: 'none', startedAtMs: 0, ...old, ...domain });
  }

  undefine(uuid: string): void {
    this.#hypervisorUp();
    const d = this.domains.get(uuid);
    if (!d) return;
    if (isOn(d)) throw new ClusterError('BAD_STATE', `domain ${d.name} is ${d.power}`);
    this.domains.delete(uuid);
    this.snapshots.delete(uuid);
    this.currentSnapshots.delete(uuid);
    this.#tell(uuid);
  }

  /** Disks, and with memory the guest, are as they were; without, it is off. */
  revert(uuid: string, name: string): void {
    const { name: vm } = this.get(uuid);
    const found = this.snapshots.get(uuid)?.find((s) => s.name === name);
    if (!found) throw new ClusterError('NOT_FOUND', `domain ${vm} has no snapshot ${name}`);
    this.currentSnapshots.set(uuid, name);
    const off = { power: 'stopped', reason: 'none' } as const;
    this.#set({ ...found.domain, ...(!found.memory && off), startedAtMs: this.clock.now() });
  }

  start(uuid: string): void {
    const d = this.get(uuid);
    if (d.power === 'running') return;
    if (d.power === 'paused') throw new ClusterError('BAD_STATE', `domain ${d.name} is paused`);
    if (this.faults.startFails) throw new ClusterError('INTERNAL', `QEMU of ${d.name} exited at once`);
    const runningXml = d.reason === 'saved' ? d.runningXml : d.xml;
    this.#set({ ...d, power: 'running', reason: 'booted', runningXml, startedAtMs: this.clock.now() });
  }

  /** XML of what runs. */
  getRunningXml(uuid: string): string {
    const d = this.#on(uuid);
    return d.runningXml ?? d.xml;
  }

  /** Changes what runs, not what is stored. */
  changeRunning(uuid: string, change: (xml: string) => string): void {
    const d = this.#on(uuid);
    this.#set({ ...d, runningXml: change(d.runningXml ?? d.xml) });
  }

  /** A request: the guest follows after a while, unless it is deaf. */
  shutdown(uuid: string): void {
    const d = this.get(uuid);
    if (d.power !== 'running' || this.faults.deafGuests) return;
    this.clock.after(this.options.bootMs, () => {
      const now = this.domains.get(uuid);
      if (now?.power === 'running' && now.startedAtMs === d.startedAtMs)
        this.#set({ ...now, power: 'stopped', reason: 'shutdown' });
    });
  }

  /** A request, as a shutdown: the guest is up again after a while, unless it is deaf. `booted` is called then. */
  reboot(uuid: string, booted: () => void): void {
    const d = this.#on(uuid);
    if (d.power !== 'running') throw new ClusterError('BAD_STATE', `domain ${d.name} is ${d.power}`);
    if (this.faults.deafGuests) return;
    this.clock.after(this.options.bootMs, () => {
      const now = this.domains.get(uuid);
      if (now?.power !== 'running' || now.startedAtMs !== d.startedAtMs) return;
      this.reset(uuid);
      booted();
    });
  }

  /** At once. A paused one stays paused. */
  reset(uuid: string): void {
    this.#set({ ...this.#on(uuid), startedAtMs: this.clock.now() });
  }

  suspend(uuid: string): void {
    const d = this.#on(uuid);
    if (d.power === 'running') this.#set({ ...d, power: 'paused', reason: 'user' });
  }

  save(uuid: string): void {
    this.#set({ ...this.#on(uuid), power: 'stopped', reason: 'saved' });
  }

  discardSaved(uuid: string): void {
    const d = this.get(uuid);
    if (d.reason === 'saved') this.#set({ ...d, reason: 'none' });
  }

  resume(uuid: string): void {
    const d = this.#on(uuid);
    if (d.power === 'paused') this.#set({ ...d, power: 'running', reason: 'user' });
  }

  /** The guest gets keys, or an NMI: only noted. BAD_STATE unless it runs. */
  poke(uuid: string, what: string): void {
    const d = this.#on(uuid);
    if (d.power !== 'running') throw new ClusterError('BAD_STATE', `domain ${d.name} is ${d.power}`);
    this.pokes.push(`${d.name} ${what}`);
  }

  destroy(uuid: string): void {
    this.#hypervisorUp();
    const d = this.domains.get(uuid);
    if (d && isOn(d)) this.#set({ ...d, power: 'stopped', reason: 'destroyed' });
  }

  /** A guest that dies on its own. */
  crash(uuid: string): void {
    this.#set({ ...this.get(uuid), power: 'crashed', reason: 'crashed' });
  }

  list(): readonly SimDomain[] {
    this.#hypervisorUp();
    return [...this.domains.values()];
  }

  get(uuid: string): SimDomain {
    this.#hypervisorUp();
    const d = this.domains.get(uuid);
    if (!d) throw new ClusterError('NOT_FOUND', `no domain ${uuid} on ${this.options.name}`);
    return d;
  }

  #on(uuid: string): SimDomain {
    const d = this.get(uuid);
    if (!isOn(d)) throw new ClusterError('BAD_STATE', `domain ${d.name} is ${d.power}`);
    return d;
  }

  #hypervisorUp(): void {
    if (this.faults.hypervisorDown)
      throw new ClusterError('HYPERVISOR_UNAVAILABLE', `libvirt on ${this.options.name} does not answer`, {
        phase: 'before-send',
      });
  }

  #set(d: SimDomain): SimDomain {
    this.domains.set(d.uuid, d);
    this.#tell(d.uuid);
    return d;
  }

  #tell(uuid: string): void {
    for (const listener of this.#listeners) listener(uuid);
  }
}
