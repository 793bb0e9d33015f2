/** Snapshots of a fake host's domains: which there are, and what a revert makes of a domain. */
import type { OperationView } from '@berth/controller/hosts/agent-client.ts';
import type { SnapshotClient } from '@berth/controller/hosts/snapshot-client.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { SnapshotSeen } from '@berth/shared/model/snapshot.ts';
import type { VmPower } from '@berth/shared/model/vm.ts';
import type { FakeDomain } from './fake-host-parts.ts';

export interface FakeSnapshot {
  readonly seen: SnapshotSeen;
  readonly domain: FakeDomain;
}
interface Parts {
  readonly snapshotsHere: Map<string, FakeSnapshot>;
  readonly domains: ReadonlyMap<string, FakeDomain>;
  readonly diskFull: boolean;
  power(uuid: string, power: VmPower, reason?: string): void;
}
type Operate = (id: string, what: unknown, effect: () => void) => Promise<OperationView>;

export function fakeSnapshots(host: Parts, operate: Operate): SnapshotClient<OperationView> {
  const latest = (uuid: string): string =>
    [...host.snapshotsHere].filter(([k]) => k.startsWith(`${uuid}/`)).at(-1)?.[1].seen.name ?? '';
  const need = (uuid: string): FakeDomain => {
    const domain = host.domains.get(uuid);
    if (!domain) throw new ClusterError('NOT_FOUND', `domain ${uuid} is not there`);
    return domain;
  };
  return {
    list: async ({ uuid }) => {
      need(uuid);
      return [...host.snapshotsHere].flatMap(([key, { seen }]) => {
        const parent = host.snapshotsHere.has(`${uuid}/${seen.parent}`) ? seen.parent : '';
        return key.startsWith(`${uuid}/`) ? [{ ...seen, parent, current: seen.name === latest(uuid) }] : [];
      });
    },
    create: (id, { uuid, vmId: _, name, description, memory, running }) =>
      operate(id, ['createSnapshot', uuid, name, description, memory, running], () => {
        const domain = need(uuid);
        if (host.snapshotsHere.has(`${uuid}/${name}`)) return;
        if (host.diskFull) throw new ClusterError('DISK_FULL', 'the pool is full');
        const with_ = memory && domain.power !== 'stopped';
        const power = with_ ? (domain.power === 'paused' ? 'paused' : 'running') : 'stopped';
        const seen: SnapshotSeen = {
          ...{
            name,
            description,
            createdAtMs: 0,
            memory: with_,
            power,
            parent: latest(uuid),
            current: true,
            external: false,
          },
          disks: domain.wanted.disks.map((d) => d.target),
        };
        host.snapshotsHere.set(`${uuid}/${name}`, { seen, domain });
      }),
    revert: (id, { uuid, name, force }) =>
      operate(id, ['revertSnapshot', uuid, name, force], () => {
        const found = host.snapshotsHere.get(`${uuid}/${name}`);
        if (!found) throw new ClusterError('NOT_FOUND', `there is no snapshot ${name}`);
        need(uuid);
        host.power(uuid, found.seen.power);
      }),
    remove: (id, { uuid, name }) =>
      operate(id, ['deleteSnapshot', uuid, name], () => void host.snapshotsHere.delete(`${uuid}/${name}`)),
  };
}
