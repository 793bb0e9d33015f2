/**
 * What a scrape of this host says: reads statistics anew, or takes the last ones where libvirt does not answer, and writes
 * everything down. Two scrapes at once share the reading. Who may scrape is listener.ts's, and the controller's.
 */
import { readdirSync } from 'node:fs';
import { Exposition, label } from '@berth/shared/metrics/exposition.ts';
import { writeProcess } from '@berth/shared/metrics/process.ts';
import type { PoolSeen } from '@berth/shared/model/pool.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { VERSION } from '@berth/shared/version.ts';
import { readMark } from '../domain/metadata.ts';
import type { DomainSeen, DomainStats } from '../drivers/hypervisor.ts';
import type { Drivers } from '../drivers/machine.ts';
import type { OperationView } from '../operations/operation.ts';
import type { Reading } from '../watch/sampler.ts';
import { AGENT_FAMILIES, type AgentFamilies } from './families.ts';
import { writeHost, writePools } from './host-metrics.ts';
import type { Meters } from './meters.ts';
import { writeVms, type SeenVm } from './vm-metrics.ts';

export interface AgentMetricsDeps {
  readonly drivers: Pick<Drivers, 'hypervisor' | 'machine'>;
  readonly clock: Clock;
  readonly meters: Meters;
  readonly hostId: string;
  readonly hostName: string;
  /** Reads counters, or joins who does; `noteReading` has been told when it resolves. */
  readonly read: () => Promise<unknown>;
  readonly pools: () => readonly PoolSeen[];
  readonly operations: () => readonly OperationView[];
  readonly watchers: () => number;
}

/** After the last scrape, QEMUs are asked for so long what only scrapes want to know. */
const WANTED_FOR_MS = 120_000;
/** Prometheus waits for ten seconds, and the controller as long. */
const PATIENCE_MS = 5_000;

export class AgentMetrics {
  private reading: Reading | undefined;
  /** The last in which libvirt answered. */
  private stats: { readonly atMs: number; readonly of: readonly DomainStats[] } | undefined;
  private domains: readonly DomainSeen[] = [];
  private answered = false;
  private under: Promise<string> | undefined;
  private scrapedAtMs = -Infinity;

  constructor(private readonly d: AgentMetricsDeps) {}

  noteReading(reading: Reading): void {
    this.reading = reading;
    if (reading.statsAtMs !== undefined) this.stats = { atMs: reading.statsAtMs, of: reading.stats };
  }

  /** Whether somebody scrapes. */
  get wanted(): boolean {
    return this.d.clock.monotonic() - this.scrapedAtMs < WANTED_FOR_MS;
  }

  /** Who asks while another is being answered gets the same. */
  text(): Promise<string> {
    return (this.under ??= this.make().finally(() => (this.under = undefined)));
  }

  private async make(): Promise<string> {
    const { clock } = this.d;
    this.scrapedAtMs = clock.monotonic();
    await this.look();
    const to = new Exposition<AgentFamilies>(AGENT_FAMILIES);
    writeProcess(to, { nowMs: clock.now(), openFds: readdirSync('/proc/self/fd').length });
    this.writeAgent(to);
    if (this.reading !== undefined) writeHost(to, this.reading);
    writePools(to, this.d.pools());
    to.add('berth_agent_vms_omitted', writeVms(to, this.vms()));
    return to.text();
  }

  private writeAgent(to: Exposition<AgentFamilies>): void {
    const { meters, hostName, hostId, clock, drivers } = this.d;
    to.add(
      'berth_agent_info',
      1,
      [label('version', VERSION), label('host', hostName), label('host_id', hostId)].join(),
    );
    to.add('berth_agent_watched', this.d.watchers());
    const states = new Map<string, number>();
    for (const { state } of this.d.operations()) states.set(state, (states.get(state) ?? 0) + 1);
    for (const [state, n] of states) to.add('berth_agent_operations', n, label('state', state));
    meters.requests.write(to, 'berth_agent_requests');
    to.add('berth_agent_libvirt_up', this.answered ? 1 : 0);
    meters.libvirt.write(to, 'berth_agent_libvirt_requests');
    if (this.stats !== undefined)
      to.add('berth_agent_sample_age_seconds', Math.max(0, clock.monotonic() - this.stats.atMs) / 1000);
    to.add('berth_agent_vms_silent', drivers.hypervisor.silent?.().length ?? 0);
  }

  /** Anew, but no longer than a scrape may take: a libvirt that says nothing leaves what was seen last. */
  private async look(): Promise<void> {
    const { read, drivers, clock } = this.d;
    this.answered = false;
    const over = new AbortController();
    const looks = Promise.all([
      read().catch(() => undefined), // the machine's own files can't be read: the rest is still worth telling
      drivers.hypervisor.list().then(
        (domains) => void (this.domains = domains),
        () => undefined,
      ),
    ]).then(() => void (this.answered = this.reading?.statsAtMs !== undefined));
    await Promise.race([looks, clock.sleep(PATIENCE_MS, over.signal).catch(() => undefined)]);
    over.abort();
    // nobody knows what they do now
    if (!this.answered) this.domains = this.domains.map((seen) => ({ ...seen, power: 'unknown' }));
  }

  private vms(): SeenVm[] {
    const stats = new Map((this.stats?.of ?? []).map((s) => [s.uuid, s]));
    return this.domains.map((seen) => {
      const vmId = readMark(seen.metadataXml)?.vmId ?? '';
      const isOn = seen.power !== 'stopped' && seen.power !== 'crashed';
      return { seen, vmId, stats: isOn ? stats.get(seen.uuid) : undefined };
    });
  }
}
