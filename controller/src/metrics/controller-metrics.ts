/** What a scrape of the controller says, what one of a host says (asked there, and relayed), and which hosts there are to scrape. */
import { readdir } from 'node:fs/promises';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { labels, Exposition } from '@berth/shared/metrics/exposition.ts';
import { writeProcess } from '@berth/shared/metrics/process.ts';
import { parseSelector } from '@berth/shared/labels/selector.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import { resolve } from '../app/names.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { RunningHosts } from '../hosts/connections.ts';
import type { State } from '../state/state.ts';
import { CONTROLLER_FAMILIES, type ControllerFamilies } from './families.ts';
import { writeInventory } from './inventory-metrics.ts';
import { JobMeter } from './job-meter.ts';
import type { Meters } from './meters.ts';
import { targetsOf } from './targets.ts';

export interface ControllerMetricsDeps {
  readonly state: State;
  readonly hosts: RunningHosts;
  readonly clock: Clock;
  readonly meters: Meters;
  readonly version: string;
  /** host:port of HTTPS, for callers; undefined: it is off. */
  readonly httpAddress: () => string | undefined;
}

const LAG_EVERY_MS = 1_000;
/** Who scrapes within this time of another gets the same answer. */
const SHARE_MS = 1_000;
/** More is no metrics of a host: an agent has at most 2 MiB. */
const MOST_HOST_BYTES = 4 << 20;

export class ControllerMetrics {
  private readonly jobs: JobMeter;
  private timer: Timer | undefined;
  private shared: { readonly atMs: number; readonly text: Promise<string> } | undefined;

  constructor(private readonly d: ControllerMetricsDeps) {
    this.jobs = new JobMeter(d.state, d.hosts);
  }

  start(): void {
    this.jobs.start();
    this.lookAtLag();
  }

  stop(): void {
    this.timer?.cancel();
    this.jobs.stop();
  }

  text(): Promise<string> {
    const now = this.d.clock.monotonic();
    if (this.shared === undefined || now - this.shared.atMs > SHARE_MS) this.shared = { atMs: now, text: this.make() };
    return this.shared.text;
  }

  /** As its agent gives it out. HOST_UNREACHABLE, UNSUPPORTED, NOT_FOUND. */
  async *host(nameOrId: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { state, hosts } = this.d;
    const host = resolve('host', state.tables.hosts, nameOrId);
    needCapability(host, hosts.status(host.id).facts, 'metrics');
    let bytes = 0;
    for await (const piece of hosts.readMetrics(host.id, signal)) {
      bytes += piece.length;
      if (bytes > MOST_HOST_BYTES)
        throw new ClusterError('BAD_STATE', `host ${host.name} gives out more metrics than any host can have`);
      yield piece;
    }
  }

  /** JSON. BAD_STATE when HTTPS is off. @param sees which hosts the caller may know of. */
  targets(selector: string, sees: (h: Host) => boolean): string {
    const { state, hosts, httpAddress } = this.d;
    const relay = httpAddress();
    if (relay === undefined)
      throw new ClusterError('BAD_STATE', 'HTTPS is off (httpListen: off): there is nothing to scrape');
    const fits = parseSelector(selector);
    const wanted = [...state.tables.hosts.values()].filter((h) => fits(h.labels) && sees(h));
    const known = wanted.map((host) => {
      const { state, facts } = hosts.status(host.id);
      return { host, state, facts };
    });
    return `${JSON.stringify(targetsOf(known, relay))}\n`;
  }

  private async make(): Promise<string> {
    const { state, hosts, clock, meters, version } = this.d;
    const to = new Exposition<ControllerFamilies>(CONTROLLER_FAMILIES);
    const openFds = await readdir('/proc/self/fd').then(
      (all) => all.length,
      () => undefined,
    );
    writeProcess(to, { nowMs: clock.now(), openFds });
    to.add('berth_controller_info', 1, labels(['version', 'installation'], [version, state.installationId]));
    to.add('berth_controller_revisions_total', state.revision);
    meters.write(to, state.pending ?? 0);
    this.jobs.write(to);
    await writeInventory(to, { tables: state.tables, hosts, clock });
    return to.text();
  }

  private lookAtLag(): void {
    const dueMs = this.d.clock.monotonic() + LAG_EVERY_MS;
    this.timer = this.d.clock.after(LAG_EVERY_MS, () => {
      this.d.meters.lag.observe(Math.max(0, this.d.clock.monotonic() - dueMs) / 1000);
      this.lookAtLag();
    });
  }
}
