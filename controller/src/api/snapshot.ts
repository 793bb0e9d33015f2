/** SnapshotService: snapshots of VMs. */
import type { Snapshot, SnapshotServiceService } from '@berth/proto/v1/snapshot.ts';
import type { Snapshots, SnapshotView } from '../app/snapshots.ts';
import type { Handlers } from './call.ts';
import { toWire } from './numbers.ts';

export const snapshotHandlers = (snapshots: Snapshots): Handlers<SnapshotServiceService> => ({
  createSnapshot: async (r, call) => {
    const { view, jobId } = await snapshots.create(r, call.user);
    return { snapshot: toSnapshot(view), jobId };
  },
  listSnapshots: async ({ vm }) => ({ snapshots: (await snapshots.list(vm)).map(toSnapshot) }),
  getSnapshot: async ({ vm, snapshot }) => toSnapshot(await snapshots.get(vm, snapshot)),
  revertSnapshot: async ({ vm, snapshot, force }, call) => ({
    jobId: await snapshots.revert(vm, snapshot, force, call.user),
  }),
  deleteSnapshot: async ({ vm, snapshot }, call) => ({ jobId: await snapshots.delete(vm, snapshot, call.user) }),
});

const toSnapshot = (s: SnapshotView): Snapshot => ({
  ...s,
  createdAtMs: toWire(s.createdAtMs),
  disks: [...s.disks],
  differences: [...s.differences],
});
