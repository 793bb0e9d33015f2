/** What every Hypervisor driver must do about snapshots: the same cases for the simulated one and for a real libvirt. */
import { describe, expect, it } from 'vitest';
import type { SnapshotWanted } from '@berth/agent/drivers/snapshots.ts';
import { firmwareGuestXml, withBench, type HypervisorFixture } from './hypervisor-contract.ts';

export interface SnapshotFixture extends HypervisorFixture {
  /** Paths of new, empty qcow2 files. */
  blankDisks(names: readonly string[]): Promise<readonly string[]>;
  /** Names of those that a file holds; undefined: there are no files. */
  snapshotsIn(path: string): Promise<readonly string[] | undefined>;
}

const TARGETS = ['vda', 'vdb'] as const;
const wanted = (name: string): SnapshotWanted => ({
  name,
  description: `<${name}> & more`,
  disks: TARGETS,
  others: [],
});
const diskXml = (path: string, target: string): string =>
  `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${path}'/>` +
  `<backingStore/><target dev='${target}' bus='virtio'/></disk>`;

export function snapshotContract(name: string, make: () => Promise<SnapshotFixture>): void {
  describe(`${name} keeps snapshots`, () => {
    const s = withBench(make);

    async function guest() {
      const g = s.bench.guest();
      const paths = await s.fixture.blankDisks(TARGETS.map((t) => `${g.name}-${t}`));
      const xml = firmwareGuestXml(g, 64, paths.map((p, i) => diskXml(p, TARGETS[i]!)).join(''));
      await s.bench.hypervisor.define(xml);
      const inFiles = async (names: readonly string[]): Promise<void> => {
        for (const p of paths) expect((await s.fixture.snapshotsIn(p)) ?? names).toEqual(names);
      };
      return { ...g, inFiles };
    }
    const list = async (uuid: string) =>
      (await s.bench.hypervisor.snapshots.list(uuid)).map((x) => [x.name, x.power, x.memory, x.parent, x.current]);

    it('of a domain that is off, and of one that runs with and without its memory; and goes back to each', async () => {
      const { hypervisor } = s.bench;
      const { snapshots } = hypervisor;
      const g = await guest();
      expect(await snapshots.list(g.uuid)).toEqual([]);
      await snapshots.create(g.uuid, wanted('off'));
      await hypervisor.start(g.uuid);
      await snapshots.create(g.uuid, wanted('memory'));
      expect(await s.bench.seen(g)).toMatchObject({ power: 'running' });
      let taken = 0;
      await snapshots.createLive(g.uuid, wanted('live'), async () => void taken++);
      expect([taken, (await s.bench.seen(g))?.power]).toEqual([1, 'running']);
      // libvirt knows when by the second, so their order says nothing
      const first = (await snapshots.list(g.uuid)).find((x) => x.name === 'off');
      expect(first).toMatchObject({ description: '<off> & more', disks: TARGETS, external: false });
      expect(first?.domainXml).toContain(g.name);
      expect((await list(g.uuid)).sort()).toEqual([
        ['live', 'stopped', false, 'memory', true],
        ['memory', 'running', true, 'off', false],
        ['off', 'stopped', false, undefined, false],
      ]);
      await g.inFiles(['off', 'memory', 'live']);
      for (const [to, power] of [
        ['live', 'stopped'],
        ['memory', 'running'],
        ['off', 'stopped'],
      ] as const) {
        await snapshots.revert(g.uuid, to);
        expect(await s.bench.seen(g), to).toMatchObject({ power, metadataXml: expect.stringContaining(g.name) });
      }
    });

    it('deletes one, twice as once, and leaves the others; a suspended guest stays so', async () => {
      const { hypervisor } = s.bench;
      const { snapshots } = hypervisor;
      const g = await guest();
      await hypervisor.start(g.uuid);
      await hypervisor.suspend(g.uuid);
      await snapshots.create(g.uuid, wanted('a'));
      expect(await s.bench.seen(g)).toMatchObject({ power: 'paused' });
      await snapshots.createLive(g.uuid, wanted('b'), async () => undefined);
      for (const again of [false, true]) {
        await snapshots.remove(g.uuid, 'a');
        expect(await list(g.uuid), String(again)).toEqual([['b', 'stopped', false, undefined, true]]);
      }
      await g.inFiles(['b']);
      await expect(snapshots.revert(g.uuid, 'a')).rejects.toMatchObject({ reason: 'NOT_FOUND' });
    });

    it('clears away what one left that was cut short, and does not mind when there is nothing', async () => {
      const { hypervisor } = s.bench;
      const g = await guest();
      for (const on of [false, true]) {
        if (on) await hypervisor.start(g.uuid);
        await hypervisor.snapshots.clear(g.uuid, wanted('half'));
        expect(await list(g.uuid)).toEqual([]);
      }
      await hypervisor.snapshots.create(g.uuid, wanted('whole'));
      await hypervisor.snapshots.clear(g.uuid, wanted('half'));
      expect((await list(g.uuid)).map(([n, , , , current]) => [n, current])).toEqual([['whole', true]]);
      expect(await s.bench.seen(g)).toMatchObject({ power: 'running' });
    });

    it('keeps them when the domain is defined anew, and drops them with it', async () => {
      const { hypervisor } = s.bench;
      const g = await guest();
      await hypervisor.snapshots.create(g.uuid, wanted('a'));
      await hypervisor.define(await hypervisor.getXml(g.uuid));
      expect(await list(g.uuid)).toHaveLength(1);
      await hypervisor.undefine(g.uuid);
      await hypervisor.define(firmwareGuestXml(g));
      expect(await list(g.uuid)).toEqual([]);
    });
  });
}
