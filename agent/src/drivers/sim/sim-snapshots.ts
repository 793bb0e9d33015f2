/** Snapshots of simulated domains: they take no time, and are whole or not there. */
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { SimHost, SimSnapshot } from '@berth/shared/sim/sim-host.ts';
import type { SnapshotSeen, SnapshotVerbs, SnapshotWanted } from '../snapshots.ts';

export function simSnapshots(host: SimHost, clock: Clock): SnapshotVerbs {
  const of = (uuid: string): readonly SimSnapshot[] => host.snapshots.get(host.get(uuid).uuid) ?? [];
  const put = (uuid: string, w: SnapshotWanted, memory: boolean): void => {
    const { name, description, disks } = w;
    const parent = host.currentSnapshots.get(uuid);
    const made = { name, description, disks, memory, parent, createdAtMs: clock.now(), domain: host.get(uuid) };
    host.snapshots.set(uuid, [...of(uuid), made]);
    host.currentSnapshots.set(uuid, name);
  };
  return {
    list: async (uuid) => of(uuid).map((s) => seen(s, host.currentSnapshots.get(uuid))),
    async create(uuid, wanted) {
      const { power, name } = host.get(uuid);
      if (of(uuid).some((s) => s.name === wanted.name))
        throw badState(`domain ${name} has a snapshot ${wanted.name} already`);
      put(uuid, wanted, power === 'running' || power === 'paused');
    },
    async createLive(uuid, wanted, taken) {
      host.getRunningXml(uuid);
      await taken();
      put(uuid, wanted, false);
    },
    revert: async (uuid, name) => host.revert(uuid, name),
    async remove(uuid, name) {
      const gone = of(uuid).find((s) => s.name === name);
      if (gone === undefined) return;
      const left = of(uuid).filter((s) => s !== gone);
      host.snapshots.set(
        uuid,
        left.map((s) => (s.parent === name ? { ...s, parent: gone.parent } : s)),
      );
      if (host.currentSnapshots.get(uuid) !== name) return;
      if (gone.parent === undefined) host.currentSnapshots.delete(uuid);
      else host.currentSnapshots.set(uuid, gone.parent);
    },
    clear: async (uuid) => void host.get(uuid),
  };
}

const seen = (s: SimSnapshot, current: string | undefined): SnapshotSeen => ({
  ...{ name: s.name, description: s.description, createdAtMs: s.createdAtMs, memory: s.memory, parent: s.parent },
  ...{ disks: s.disks, current: s.name === current, external: false },
  power: s.memory ? (s.domain.power === 'paused' ? 'paused' : 'running') : 'stopped',
  domainXml: s.domain.runningXml ?? s.domain.xml,
});
