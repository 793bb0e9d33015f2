/** ClusterService: what holds for all hosts together. Decides nothing. */
import type { Cluster, ClusterServiceService } from '@berth/proto/v1/cluster.ts';
import type { ClusterApp, ClusterView } from '../app/cluster.ts';
import { cpuToWire } from '../hosts/decode-cpu.ts';
import type { Call, Handlers } from './call.ts';
import { toWire } from './numbers.ts';
import type { Scope } from './scope.ts';

/** Of each of some ten thousand hosts: the answer is one message. */
const MOST_LACKING = 16;

export const clusterHandlers = (cluster: ClusterApp, scope: Scope): Handlers<ClusterServiceService> => ({
  getCluster: async (_, call) => toCluster(await cluster.get(), scope, call),
  setClusterCpu: async (r, call) => toCluster(await cluster.setCpu(r.cpu, r.dryRun), scope, call),
});

const toCluster = ({ name, cpu, hosts }: ClusterView, scope: Scope, call: Call): Cluster => ({
  name,
  cpu: cpu && {
    ...{ asked: cpu.asked, definition: cpuToWire(cpu), features: [...cpu.all], models: [...cpu.models] },
    setAtMs: toWire(cpu.setAtMs),
  },
  hosts: hosts
    .filter(({ host }) => scope.seesHost(call, host))
    .map((h) => ({ host: h.host.name, model: h.cpu?.model ?? '', lacking: h.lacking.slice(0, MOST_LACKING) })),
});
