/** XML of pools: a golden file for every type. */
import { expect, it } from 'vitest';
import { expectGolden } from '@berth/test/harness/golden.ts';
import type { PoolSource } from '@berth/shared/model/pool.ts';
import { checkPoolSpec, poolUuid, poolXml, secretUuid } from './pool-spec.ts';

const nothing: PoolSource = {
  ...{ type: 'dir', targetPath: '', hosts: [], path: '', name: '', devices: [] },
  ...{ format: '', initiator: '', adapter: '', authUser: '' },
};
const ALL: readonly Partial<PoolSource>[] = [
  { type: 'dir', targetPath: '/kvm/vdisks & more' },
  { type: 'fs', targetPath: '/kvm/sdb', devices: ['/dev/sdb1'], format: 'ext4' },
  { type: 'netfs', targetPath: '/kvm/nfs', hosts: ['nas', '[fd00::7]:2049'], path: '/vms', format: 'nfs' },
  { type: 'netfs', targetPath: '/kvm/gluster', hosts: ['g1'], path: '/volume', format: 'glusterfs' },
  { type: 'logical', name: 'vg0', devices: ['/dev/sdc', '/dev/sdd'] },
  { type: 'iscsi', hosts: ['san:3260'], path: 'iqn.2020-01.org.example:t1', authUser: 'berth' },
  { type: 'iscsi-direct', hosts: ['san'], path: 'iqn.2020-01.org.example:t1', initiator: 'iqn.2020-01.org.berth:h1' },
  { type: 'scsi', adapter: 'scsi_host3' },
  { type: 'scsi', adapter: '20000000c9831b4b:10000000c9831b4b' },
  { type: 'mpath' },
  { type: 'rbd', hosts: ['mon1:6789', 'mon2'], name: 'vms', authUser: 'berth' },
  { type: 'gluster', hosts: ['g1', 'g2:24007'], name: 'volume', path: '/vms' },
];

it('is what it was, for every type', () => {
  const specs = ALL.map((s) =>
    checkPoolSpec({
      ...{ poolId: 'pool-01', name: 'p1', source: { ...nothing, ...s } },
      ...{ shared: false, autostart: true, generation: 1 },
    }),
  );
  return expectGolden(import.meta.url, 'pools.golden.xml', specs.map((s) => `${poolXml(s)}\n`).join('\n'));
});

it('has the same uuid on every host, and another for its secret', () => {
  expect(poolUuid('pool-01')).toBe(poolUuid('pool-01'));
  expect(new Set([poolUuid('pool-01'), poolUuid('pool-02'), secretUuid('pool-01')]).size).toBe(3);
  expect(poolUuid('pool-01')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});
