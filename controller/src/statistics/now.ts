/** A host's figures as people see them, and what is kept in the history of a host and of a VM. Pure. */
import type { Host, HostState } from '@berth/shared/model/host.ts';
import type { HostFigures, NicFigures } from '@berth/shared/model/statistics.ts';
import type { VmStatistics } from '../hosts/figures.ts';
import type { HostStatus } from '../hosts/hosts.ts';
import type { Values } from './history.ts';
import type { Sortable } from './order.ts';
import { memoryUsedOf } from './rows.ts';

export interface HostNow {
  readonly host: Host;
  readonly state: HostState;
  readonly cpuThreads: number;
  /** Of all CPUs. */
  readonly cpuUsed: number;
  readonly load1: number;
  readonly memoryBytes: number;
  readonly memoryUsedBytes: number;
  readonly figures: HostFigures;
  readonly netReceiveBytes: number;
  readonly netTransmitBytes: number;
  readonly netErrors: number;
  readonly runningVms: number;
}

/** Of a host whose agent tells none. */
const NO_FIGURES: HostFigures = {
  ...{ overMs: 0, cpuIowait: 0, cpuSteal: 0, load5: 0, load15: 0, memoryBytes: 0, swapBytes: 0, swapUsedBytes: 0 },
  ...{ diskReadBytes: 0, diskWriteBytes: 0, diskReads: 0, diskWrites: 0, nics: [], pools: [] },
};
const NO_LOAD = { cpuUsed: 0, load1: 0, memoryUsedBytes: 0, figures: NO_FIGURES };

/** Figures of a host that can't be reached are old: it has none. */
export function hostNow(host: Host, status: HostStatus, runningVms: () => number): HostNow {
  const { facts, state } = status;
  const statistics = state === 'up' || state === 'maintenance' ? status.statistics : undefined;
  const { cpuUsed, load1, memoryUsedBytes, figures = NO_FIGURES } = statistics ?? NO_LOAD;
  return {
    ...{ host, state, figures, cpuUsed, load1, memoryUsedBytes },
    cpuThreads: facts?.cpuThreads ?? 0,
    memoryBytes: figures.memoryBytes || (facts?.memoryBytes ?? 0),
    ...traffic(figures.nics),
    runningVms: statistics === undefined ? 0 : runningVms(),
  };
}

/** What goes through a bridge goes through a card, too, and counts once. */
function traffic(nics: readonly NicFigures[]) {
  const real = nics.filter((n) => n.kind === 'physical');
  const counted = real.length > 0 ? real : nics.filter((n) => n.kind === 'virtual');
  const sum = (of: (n: NicFigures) => number): number => counted.reduce((all, n) => all + of(n), 0);
  return {
    netReceiveBytes: sum((n) => n.receiveBytes),
    netTransmitBytes: sum((n) => n.transmitBytes),
    netErrors: sum((n) => n.errors + n.drops),
  };
}

/** CPU is sorted by how full hosts are, and added up in CPUs. */
export const hostRow = (now: HostNow): Sortable & { readonly now: HostNow } => ({
  ...{ now, name: now.host.name, cpu: now.cpuUsed, memory: now.memoryUsedBytes },
  ...{ cpuInCpus: now.cpuUsed * now.cpuThreads, cpus: now.cpuThreads, memoryOf: now.memoryBytes },
  ...{ diskRead: now.figures.diskReadBytes, diskWrite: now.figures.diskWriteBytes },
  ...{ netReceive: now.netReceiveBytes, netTransmit: now.netTransmitBytes },
});

export const hostValues = ({ figures, ...now }: HostNow): Values => ({
  cpuUsed: now.cpuUsed,
  memoryUsedBytes: now.memoryUsedBytes,
  diskReadBytes: figures.diskReadBytes,
  diskWriteBytes: figures.diskWriteBytes,
  diskOperations: figures.diskReads + figures.diskWrites,
  diskMs: 0,
  netReceiveBytes: now.netReceiveBytes,
  netTransmitBytes: now.netTransmitBytes,
});

export function vmValues(s: VmStatistics): Values {
  const operations = s.diskReads + s.diskWrites;
  return {
    cpuUsed: s.cpuUsed,
    memoryUsedBytes: memoryUsedOf(s),
    diskReadBytes: s.diskReadBytes,
    diskWriteBytes: s.diskWriteBytes,
    diskOperations: operations,
    diskMs: operations > 0 ? (s.diskReads * s.diskReadMs + s.diskWrites * s.diskWriteMs) / operations : 0,
    netReceiveBytes: s.netReceiveBytes,
    netTransmitBytes: s.netTransmitBytes,
  };
}
