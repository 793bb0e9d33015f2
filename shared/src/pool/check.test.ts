/** The rules of pools: what each type needs, and which paths may become one. */
import { describe, expect, it } from 'vitest';
import { usedPercent, type PoolSource } from '../model/pool.ts';
import { checkPoolSource, pathFaults } from './check.ts';

const nothing: PoolSource = {
  ...{ type: 'dir', targetPath: '', hosts: [], path: '', name: '', devices: [] },
  ...{ format: '', initiator: '', adapter: '', authUser: '' },
};
const check = (s: Partial<PoolSource>) => checkPoolSource('pool p', { ...nothing, ...s });

describe('the source of a pool', () => {
  it.each<[string, Partial<PoolSource>, string]>([
    ['dir', { targetPath: '/kvm/vdisks' }, '/kvm/vdisks'],
    ['fs', { type: 'fs', targetPath: '/kvm/sdb', devices: ['/dev/sdb1'], format: 'ext4' }, '/kvm/sdb'],
    ['netfs', { type: 'netfs', targetPath: '/kvm/nfs', hosts: ['nas:2049'], path: '/vms', format: 'nfs' }, '/kvm/nfs'],
    ['logical', { type: 'logical', name: 'vg0' }, '/dev/vg0'],
    ['iscsi', { type: 'iscsi', hosts: ['10.0.0.1'], path: 'iqn.2020-01.org.x:t' }, '/dev/disk/by-path'],
    ['iscsi-direct', { type: 'iscsi-direct', hosts: ['[fd00::1]:3260'], path: 'iqn.a:t', initiator: 'iqn.b:i' }, ''],
    ['scsi', { type: 'scsi', adapter: 'scsi_host3' }, '/dev/disk/by-path'],
    ['mpath', { type: 'mpath' }, '/dev/mapper'],
    ['rbd', { type: 'rbd', hosts: ['mon1:6789'], name: 'vms', authUser: 'berth' }, ''],
    ['gluster', { type: 'gluster', hosts: ['g1'], name: 'vol', path: '/vms' }, ''],
  ])('may be %s, and appears where it must', (_, source, target) => expect(check(source).targetPath).toBe(target));

  it('is refused with everything that is wrong with it at once, in the words of the command line', () => {
    const wrong = { type: 'netfs', hosts: ['a b'], adapter: 'scsi_host1', path: '/x/../y' } as const;
    expect(() => check(wrong)).toThrow(
      /needs --path\npool p: a pool of type netfs has no --adapter\npool p: "a b" is no name.*\npool p: "\/x\/\.\.\/y" is no folder/,
    );
    expect(() => check({ type: 'zfs' as never })).toThrow('"zfs" is no type of pool');
    expect(() => check({ type: 'dir' })).toThrow('a pool of type dir needs --path');
    expect(() => check({ type: 'fs', targetPath: '/a/b', devices: ['/etc/passwd'] })).toThrow('is no device');
    expect(() => check({ type: 'fs', targetPath: '/a/b', devices: ['/dev/../etc/passwd'] })).toThrow('is no device');
    expect(() => check({ type: 'fs', targetPath: '/a/b', devices: ['/dev/sdb'], format: 'ntfs' })).toThrow('no format');
  });

  it.each(['/', '/etc', '/etc/x', '/usr/share/x', '/var/lib', '/srv', '/tmp/x', '/proc/1', '/run/x', '/var/log/x'])(
    'is not %s',
    (path) => expect(pathFaults(path)).not.toEqual([]),
  );
  it.each(['kvm', '/a/../etc', '/a/./b', '/a//b', '/a/', '', '/a\nb', '/../etc'])('is not the path %j', (path) =>
    expect(pathFaults(path)).not.toEqual([]),
  );
  it.each(['/kvm', '/srv/vms', '/var/lib/libvirt/images', '/mnt/nas', '/a/..b'])('may be %s', (path) =>
    expect(pathFaults(path)).toEqual([]),
  );
});

it('is as full as it is, and an unknown one is not', () => {
  expect(usedPercent({ capacityBytes: 200, availableBytes: 50 })).toBe(75);
  expect(usedPercent({ capacityBytes: 0, availableBytes: 0 })).toBe(0);
  expect(usedPercent({ capacityBytes: 10, availableBytes: 20 })).toBe(0);
});
