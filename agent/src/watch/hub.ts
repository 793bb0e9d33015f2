/**
 * What this host looks like now, kept fresh while somebody watches: libvirt's events, and cheap looks at volumes, images
 * and bridges at an interval and after own operations. Listeners get each change once. Queues are the streams' own.
 */
import type { HostFacts } from '@berth/shared/model/host.ts';
import type { NetworkSeen } from '@berth/shared/model/network.ts';
import type { PoolSeen } from '@berth/shared/model/pool.ts';
import type { GuestSeen } from '@berth/shared/model/guest.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Drivers } from '../drivers/machine.ts';
import type { HypervisorEvent } from '../drivers/hypervisor.ts';
import type { OperationView } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { domainReport, SOURCES, type ObjectKind, type SourceName, type WatchItem } from './items.ts';
import { Refresher } from './refresher.ts';

export type HubListener = (key: string, item: WatchItem) => void;

export interface HubDeps {
  readonly drivers: Drivers;
  readonly operations: Operations;
  readonly report: () => Promise<HostFacts>;
  readonly clock: Clock;
  readonly log: Log;
  readonly observeEveryMs: number;
  /** Absent: it has none. */
  readonly pools?: () => Promise<readonly PoolSeen[]>;
  readonly networks?: () => Promise<readonly NetworkSeen[]>;
}

/** Facts and checks change rarely and cost most; files of volumes grow, and are looked at one by one as seldom. */
const SELDOM_ROUNDS = 4;
const SOURCE_DEADLINE_MS = 10_000;
/** Volumes are made and removed in bursts, and a look at them reads two files of each: one look for many operations. */
const VOLUMES_AFTER_MS = 250;

/** Guests have none: they are told one by one. */
const sourceOf: Readonly<Partial<Record<ObjectKind, SourceName>>> = {
  domain: 'domains',
  volume: 'volumes',
  image: 'images',
  bridge: 'bridges',
  pool: 'pools',
  network: 'networks',
};

export class Hub {
  private readonly objects = new Map<string, { item: WatchItem; text: string }>();
  private readonly complete = new Set<SourceName>();
  private readonly listeners = new Set<HubListener>();
  private readonly refreshers: Readonly<Record<SourceName | 'host' | 'files', Refresher>>;
  private readonly unsubscribe: (() => void)[] = [];
  /** Domains that an event told of while the list was being asked: the event is newer. */
  private readonly touched = new Set<string>();
  private connected = true;
  private timer: Timer | undefined;
  private volumesSoon: Timer | undefined;
  private rounds = 0;
  /** Of the folders of volumes and images, when their files were looked at. */
  private files: string | undefined;

  constructor(private readonly deps: HubDeps) {
    const { hypervisor, disks, bridges } = deps.drivers;
    const lists: Readonly<Record<SourceName, () => Promise<readonly WatchItem[]>>> = {
      domains: async () => {
        this.touched.clear();
        return (await hypervisor.list()).map((d) => ({ type: 'domain', domain: domainReport(d) }));
      },
      volumes: async () => (await disks.listVolumes()).map((volume) => ({ type: 'volume', volume })),
      images: async () => (await disks.listImages()).map((image) => ({ type: 'image', image })),
      bridges: async () => (await bridges.list()).map((bridge) => ({ type: 'bridge', bridge })),
      pools: async () => ((await deps.pools?.()) ?? []).map((pool) => ({ type: 'pool', pool })),
      networks: async () => ((await deps.networks?.()) ?? []).map((network) => ({ type: 'network', network })),
    };
    const source = (name: SourceName) => new Refresher(() => this.refreshSource(name, lists[name]));
    this.refreshers = {
      domains: source('domains'),
      volumes: source('volumes'),
      images: source('images'),
      bridges: source('bridges'),
      pools: source('pools'),
      networks: source('networks'),
      host: new Refresher(() => this.refreshHost()),
      files: new Refresher(() => this.refreshFiles()),
    };
  }

  start(): void {
    this.unsubscribe.push(
      this.deps.drivers.hypervisor.subscribe((e) => this.onHypervisor(e)),
      this.deps.operations.subscribe((view, kind) => this.onOperation(view, kind)),
    );
  }

  stop(): void {
    for (const f of this.unsubscribe.splice(0)) f();
    this.listeners.clear();
    this.timer?.cancel();
    this.volumesSoon?.cancel();
  }

  /** Looks at everything anew; a source that does not answer in time is incomplete. */
  async ready(): Promise<void> {
    const { files: _, ...looks } = this.refreshers;
    const all = Promise.all(Object.values(looks).map((r) => r.run()));
    const late = new AbortController();
    await Promise.race([all, this.deps.clock.sleep(SOURCE_DEADLINE_MS, late.signal).catch(() => undefined)]);
    late.abort();
  }

  attach(listener: HubListener): () => void {
    this.listeners.add(listener);
    if (this.listeners.size === 1) this.schedule();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.timer?.cancel();
    };
  }

  /** How many look on. */
  get watchers(): number {
    return this.listeners.size;
  }

  /** What is known of a guest; undefined: nothing any more. */
  setGuest(uuid: string, guest: GuestSeen | undefined): void {
    if (guest === undefined) this.remove('guest', uuid);
    else this.set(`guest/${uuid}`, { type: 'guest', uuid, guest });
  }

  /** Storage pools as they were seen last. */
  pools(): readonly PoolSeen[] {
    return [...this.objects.values()].flatMap(({ item }) => (item.type === 'pool' ? [item.pool] : []));
  }

  /** Everything as it is at this moment, and which sources are whole. */
  snapshot(): { readonly items: readonly WatchItem[]; readonly complete: readonly SourceName[] } {
    const operations = this.deps.operations.list().map((operation): WatchItem => ({ type: 'operation', operation }));
    return { items: [...[...this.objects.values()].map((o) => o.item), ...operations], complete: this.completeNow() };
  }

  private completeNow(): SourceName[] {
    return SOURCES.filter((s) => this.complete.has(s));
  }

  private schedule(): void {
    this.timer = this.deps.clock.after(this.deps.observeEveryMs, () => {
      this.rounds++;
      const { domains, bridges, pools, networks, files, host } = this.refreshers;
      for (const r of [domains, bridges, pools, networks, files]) void r.run();
      if (this.rounds % SELDOM_ROUNDS === 0) void host.run();
      if (this.listeners.size > 0) this.schedule();
    });
  }

  private async refreshHost(): Promise<void> {
    try {
      this.set('host', { type: 'host', host: await this.deps.report() });
    } catch (e) {
      this.deps.log.warn({ err: e }, 'the host report could not be made');
    }
  }

  /** One by one where one has come or gone, and seldom otherwise. */
  private async refreshFiles(): Promise<void> {
    const isDue = this.rounds % SELDOM_ROUNDS === 0;
    const stamp = await this.deps.drivers.disks.stamp?.().catch(() => undefined);
    const isSame = stamp !== undefined && stamp === this.files;
    this.files = stamp;
    if (isSame && !isDue) return;
    await Promise.all([this.refreshers.volumes.run(), this.refreshers.images.run()]);
  }

  private async refreshSource(name: SourceName, list: () => Promise<readonly WatchItem[]>): Promise<void> {
    try {
      const items = await list();
      this.replace(name, items);
      this.setComplete(name, name !== 'domains' || this.connected);
    } catch (e) {
      if (this.complete.has(name))
        this.deps.log.warn({ err: e, source: name }, 'a source of the watch does not answer');
      this.setComplete(name, false);
    }
  }

  private replace(name: SourceName, items: readonly WatchItem[]): void {
    const fresh = new Map(items.map((i) => [keyOf(i), i]));
    for (const [key, item] of fresh) if (!this.touched.has(key)) this.set(key, item);
    for (const key of [...this.objects.keys()]) {
      const [kind, id] = splitKey(key);
      if (sourceOf[kind] === name && !fresh.has(key) && !this.touched.has(key)) this.remove(kind, id);
    }
  }

  private set(key: string, item: WatchItem): void {
    const text = JSON.stringify(item);
    if (this.objects.get(key)?.text === text) return;
    this.objects.set(key, { item, text });
    this.tell(key, item);
  }

  private remove(kind: ObjectKind, id: string): void {
    const key = `${kind}/${id}`;
    if (this.objects.delete(key)) this.tell(key, { type: 'removed', kind, id });
  }

  private setComplete(name: SourceName, whole: boolean): void {
    if (this.complete.has(name) === whole) return;
    if (whole) this.complete.add(name);
    else this.complete.delete(name);
    this.tell('sources', { type: 'sources', complete: this.completeNow() });
  }

  private tell(key: string, item: WatchItem): void {
    for (const listener of [...this.listeners]) listener(key, item);
  }

  private onHypervisor(e: HypervisorEvent): void {
    if (e.type === 'domain') {
      const key = `domain/${e.uuid}`;
      this.touched.add(key);
      if (e.seen) this.set(key, { type: 'domain', domain: domainReport(e.seen) });
      else this.remove('domain', e.uuid);
      return;
    }
    this.connected = e.type === 'connected';
    if (!this.connected) this.setComplete('domains', false);
    if (this.listeners.size === 0) return;
    if (this.connected) void this.refreshers.domains.run();
    void this.refreshers.host.run();
  }

  private onOperation(view: OperationView, kind: { readonly name: string; readonly long: boolean }): void {
    if (kind.long) this.tell(`operation/${view.id}`, { type: 'operation', operation: view });
    if (view.state === 'running' || this.listeners.size === 0) return;
    if (kind.name.startsWith('host.')) void this.refreshers.host.run();
    // what is made for a network is a bridge
    if (kind.name.startsWith('network.')) void this.refreshers.bridges.run();
    const name = sourceOf[kind.name.split('.')[0] as ObjectKind];
    // what a snapshot does to a domain it does to its disks
    if (name === 'volumes' || kind.name.startsWith('domain.snapshot'))
      this.volumesSoon ??= this.deps.clock.after(VOLUMES_AFTER_MS, () => this.lookAtVolumes());
    if (name !== 'volumes' && name !== undefined) void this.refreshers[name].run();
  }

  private lookAtVolumes(): void {
    this.volumesSoon = undefined;
    void this.refreshers.volumes.run();
  }
}

function keyOf(item: WatchItem): string {
  if (item.type === 'domain') return `domain/${item.domain.uuid}`;
  if (item.type === 'volume') return `volume/${item.volume.volumeId}`;
  if (item.type === 'guest') return `guest/${item.uuid}`;
  if (item.type === 'image') return `image/${item.image.digest}`;
  if (item.type === 'pool') return `pool/${item.pool.uuid}`;
  if (item.type === 'network') return `network/${item.network.uuid}`;
  return item.type === 'bridge' ? `bridge/${item.bridge.name}` : item.type;
}

function splitKey(key: string): [ObjectKind, string] {
  const cut = key.indexOf('/');
  return [key.slice(0, cut) as ObjectKind, key.slice(cut + 1)];
}
