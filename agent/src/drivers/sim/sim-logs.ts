/** Logs of a simulated host: the agent's own are real, those of the others say that they are not. */
import { notFound } from '@berth/shared/errors/cluster-error.ts';
import type { LogRing } from '@berth/shared/log/ring.ts';
import type { SimHost } from '@berth/shared/sim/sim-host.ts';
import type { HostLogs, LogLine, LogWanted } from '../host-logs.ts';
import { readRing } from '../linux/logs/ring-log.ts';

export function createSimLogs(sim: SimHost, ring: LogRing): HostLogs {
  async function* read(w: LogWanted, signal: AbortSignal): AsyncGenerator<readonly LogLine[]> {
    if (w.source === 'agent') return yield* readRing(ring, w, signal);
    const domain = [...sim.domains.values()].find((d) => d.name === w.domain);
    if (w.source === 'qemu' && domain === undefined) throw notFound(`QEMU has left no log of ${w.domain} on this host`);
    const text = `simulated ${w.source}${domain ? ` of ${domain.name}: ${domain.power}` : ''}`;
    yield [{ atMs: domain?.startedAtMs ?? 0, text }].filter((l) => l.atMs >= w.sinceMs);
  }
  return { read };
}
