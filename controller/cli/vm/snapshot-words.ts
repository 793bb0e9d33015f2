/** What berth vm show tells of the snapshots of a VM; the rest is in berth vm snapshot list. */
import type { ListSnapshotsResponse } from '@berth/proto/v1/snapshot.ts';
import type { Vm } from '@berth/proto/v1/vm.ts';
import type { Api } from '../core/api.ts';

/** `3, went on from before-upgrade`; empty: it has none. Which is current its host knows: one that does not answer says nothing. */
export async function snapshotWords(
  api: Pick<Api, 'call' | 'snapshots'>,
  v: Pick<Vm, 'id' | 'snapshotCount'>,
): Promise<string> {
  if (v.snapshotCount === 0) return '';
  const none = (): ListSnapshotsResponse => ({ snapshots: [] });
  const { snapshots } = await api.call(api.snapshots, (c) => c.listSnapshots, { vm: v.id }).catch(none);
  const current = snapshots.find((s) => s.current)?.name;
  return current === undefined ? String(v.snapshotCount) : `${v.snapshotCount}, went on from ${current}`;
}
