/** WatchService on the wire: claims the host for the caller's run, numbers the messages, encodes them. */
import type { Statistics, WatchMessage, WatchServiceServer } from '@berth/proto/agent/v1/watch.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Sample, WatchItem } from '../watch/items.ts';
import type { WatchStream } from '../watch/stream.ts';
import { readFence, toNumber } from './decode.ts';
import {
  encodeBridge,
  encodeDomain,
  encodeHost,
  encodeImage,
  encodeOperation,
  encodeVolume,
  toWire,
} from './encode.ts';
import type { Guard } from './guard.ts';
import { encodeGuest } from './guest.ts';
import { encodeNetwork } from './network.ts';
import { encodePool } from './pool.ts';

export interface WatchServiceDeps {
  readonly hostId: string;
  readonly agentInstanceId: string;
  readonly bootId: () => Promise<string>;
  /** As configured, for callers who say nothing else. */
  readonly statisticsEveryMs: number;
  open(statisticsEveryMs: number): WatchStream;
}

const MIN_STATISTICS_MS = 500;
const MAX_STATISTICS_MS = 3_600_000;
/** 0: the host's own. */
const intervalOf = (ms: bigint): number => {
  const asked = toNumber('the statistics interval', ms);
  return asked === 0 ? 0 : Math.min(Math.max(asked, MIN_STATISTICS_MS), MAX_STATISTICS_MS);
};

export function watchService(guard: Guard, d: WatchServiceDeps): WatchServiceServer {
  const streams = new Set<WatchStream>();
  return {
    setStatisticsInterval: guard.change(
      'SetStatisticsInterval',
      (q) => q.fence,
      async (q) => {
        if (streams.size === 0) throw new ClusterError('BAD_STATE', 'nobody watches this host: open a watch first');
        const everyMs = intervalOf(q.intervalMs) || d.statisticsEveryMs;
        for (const stream of streams) stream.setStatisticsEvery(everyMs);
        return {};
      },
    ),
    watch: guard.serverStream('Watch', async (q, send, signal) => {
      const lost = new AbortController();
      const takenOver = (): void =>
        lost.abort(new ClusterError('WRONG_CONTROLLER', 'a controller of a higher epoch has taken this host over'));
      const release = guard.fence.claim(readFence(q.fence), takenOver);
      try {
        const hostBootId = await d.bootId();
        const stream = d.open(intervalOf(q.statisticsIntervalMs) || d.statisticsEveryMs);
        const begin = { hostId: d.hostId, hostBootId, agentInstanceId: d.agentInstanceId };
        let seq = 0n;
        streams.add(stream);
        await stream
          .run(
            (item) =>
              send({ seq: ++seq, message: item.type === 'begin' ? { $case: 'begin', value: begin } : encode(item) }),
            AbortSignal.any([signal, lost.signal]),
          )
          .finally(() => streams.delete(stream));
        lost.signal.throwIfAborted();
      } finally {
        release();
      }
    }),
  };
}

function encode(i: Exclude<WatchItem, { type: 'begin' }>): NonNullable<WatchMessage['message']> {
  switch (i.type) {
    case 'host':
      return { $case: 'host', value: encodeHost(i.host) };
    case 'domain':
      return { $case: 'domain', value: encodeDomain(i.domain) };
    case 'volume':
      return { $case: 'volume', value: encodeVolume(i.volume) };
    case 'image':
      return { $case: 'image', value: encodeImage(i.image) };
    case 'bridge':
      return { $case: 'bridge', value: encodeBridge(i.bridge) };
    case 'pool':
      return { $case: 'pool', value: encodePool(i.pool) };
    case 'network':
      return { $case: 'network', value: encodeNetwork(i.network) };
    case 'operation':
      return { $case: 'operation', value: encodeOperation(i.operation) };
    case 'guest':
      return { $case: 'guest', value: encodeGuest(i.uuid, i.guest) };
    case 'removed':
      return { $case: 'removed', value: { kind: i.kind, id: i.id } };
    case 'sources':
      return { $case: 'sources', value: { complete: [...i.complete] } };
    case 'end':
      return { $case: 'end', value: { sources: { complete: [...i.complete] } } };
    case 'statistics':
      return { $case: 'statistics', value: encodeSample(i.sample) };
    case 'heartbeat':
      return { $case: 'heartbeat', value: {} };
  }
}

const encodeSample = (s: Sample): Statistics => ({
  atMs: toWire(s.atMs),
  cpuUsed: s.cpuUsed,
  load1: s.load1,
  memoryUsedBytes: toWire(s.memoryUsedBytes),
  diskBytes: toWire(s.diskBytes),
  diskFreeBytes: toWire(s.diskFreeBytes),
  silent: (s.silent ?? []).map((d) => ({ uuid: d.uuid, silentMs: toWire(d.silentMs) })),
  domains: s.domains.map((d) => ({
    ...d,
    memoryUsedBytes: toWire(d.memoryUsedBytes),
    figures: d.figures && { ...d.figures, overMs: Math.round(d.figures.overMs) },
  })),
  figures: s.figures && {
    ...s.figures,
    overMs: Math.round(s.figures.overMs),
    nics: s.figures.nics.map((n) => ({ ...n })),
    pools: s.figures.pools.map((p) => ({ ...p })),
  },
});
