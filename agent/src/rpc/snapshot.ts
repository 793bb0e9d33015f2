/** SnapshotService on the wire. */
import type { DomainSnapshot, SnapshotServiceServer } from '@berth/proto/agent/v1/snapshot.ts';
import { checkDomainRef } from '../domain/domains.ts';
import { checkCreate, checkSnapshot } from '../domain/snapshot-wanted.ts';
import type { Snapshots } from '../domain/snapshots.ts';
import type { SnapshotSeen } from '../drivers/snapshots.ts';
import type { Operations } from '../operations/operations.ts';
import { operationIdOf } from './decode.ts';
import { encodeOperation } from './encode.ts';
import type { Guard } from './guard.ts';

const refOf = (q: { readonly uuid: string; readonly vmId: string; readonly name: string }) => ({
  ...checkDomainRef({ uuid: q.uuid, vmId: q.vmId }),
  name: q.name,
});

export const snapshotService = (guard: Guard, operations: Operations, snapshots: Snapshots): SnapshotServiceServer => ({
  listSnapshots: guard.read('ListSnapshots', async ({ uuid, vmId }) => ({
    snapshots: (await snapshots.list(checkDomainRef({ uuid, vmId }))).map(encode),
  })),
  createSnapshot: guard.operation('CreateSnapshot', async (q) => {
    const { description, memory, running } = q;
    const wanted = checkCreate({ ...refOf(q), description, memory, running });
    return encodeOperation(await operations.run(snapshots.create, operationIdOf(q), wanted));
  }),
  revertSnapshot: guard.operation('RevertSnapshot', async (q) => {
    const wanted = checkSnapshot({ ...refOf(q), force: q.force });
    return encodeOperation(await operations.run(snapshots.revert, operationIdOf(q), wanted));
  }),
  deleteSnapshot: guard.operation('DeleteSnapshot', async (q) =>
    encodeOperation(await operations.run(snapshots.remove, operationIdOf(q), { ...refOf(q), running: q.running })),
  ),
});

const encode = ({ domainXml: _, createdAtMs, parent = '', ...s }: SnapshotSeen): DomainSnapshot => ({
  ...s,
  ...{ parent, createdAtMs: BigInt(createdAtMs), disks: [...s.disks] },
});
