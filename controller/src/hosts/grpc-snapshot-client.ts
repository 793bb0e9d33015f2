/** SnapshotClient over gRPC: encode, call, decode. No decisions. */
import { SnapshotServiceService as Service, type DomainSnapshot } from '@berth/proto/agent/v1/snapshot.ts';
import type { SnapshotPower, SnapshotSeen } from '@berth/shared/model/snapshot.ts';
import type { OperationView } from './agent-client.ts';
import type { VolumeCalls } from './grpc-volume-client.ts';
import type { SnapshotClient } from './snapshot-client.ts';

type Calls = Pick<VolumeCalls, 'change' | 'context' | 'ask'>;

export const snapshotClient = ({ change, context, ask }: Calls): SnapshotClient<OperationView> => ({
  list: async ({ uuid, vmId }) => (await ask(Service.listSnapshots, { uuid, vmId })).snapshots.slice(0, MOST).map(read),
  create: (id, { uuid, vmId, ...v }) => change(Service.createSnapshot, { context: context(id), uuid, vmId, ...v }),
  revert: (id, { uuid, vmId, ...v }) => change(Service.revertSnapshot, { context: context(id), uuid, vmId, ...v }),
  remove: (id, { uuid, vmId, ...v }) => change(Service.deleteSnapshot, { context: context(id), uuid, vmId, ...v }),
});

/** What a host says is cut down to what anybody could want to read. */
const MOST = 1_000;
const clip = (s: string): string => s.slice(0, 1_000);
const POWERS: readonly SnapshotPower[] = ['running', 'paused', 'stopped'];

const read = (s: DomainSnapshot): SnapshotSeen => ({
  ...{ name: clip(s.name), description: clip(s.description), parent: clip(s.parent) },
  ...{ memory: s.memory, current: s.current, external: s.external },
  createdAtMs: Number(s.createdAtMs),
  power: POWERS.find((p) => p === s.power) ?? 'stopped',
  disks: s.disks.slice(0, 64).map((d) => d.slice(0, 20)),
});
