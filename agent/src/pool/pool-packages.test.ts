/** What a host lacks for a pool is said in words, from what libvirt 9.0 says where it is so. */
import { expect, it } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { PoolSource } from '@berth/shared/model/pool.ts';
import { source } from '../testing/pool-host.ts';
import { lackingDriver, lackingProgram } from './pool-packages.ts';

const of = (type: PoolSource['type'], format = ''): PoolSource => ({ ...source(''), type, format });
const internal = (words: string) => new ClusterError('INTERNAL', words);

it.each([
  ['netfs', 'glusterfs', "mount: /kvm/x: unknown filesystem type 'glusterfs'.", 'glusterfs-client'],
  ['netfs', 'nfs', "mount: /kvm/x: unknown filesystem type 'nfs'.", 'nfs-common'],
  ['logical', '', "unsupported configuration: cannot find logical volume group name 'vg0'", 'lvm2'],
  [
    'iscsi',
    '',
    "/usr/bin/iscsiadm failed new mode for target 'iqn.2020-01.org.example:t1' with status '127'",
    'open-iscsi',
  ],
] as const)('a pool of type %s %s that cannot be started: %s', (type, format, words, name) => {
  expect(String(lackingProgram(internal(words), of(type, format)))).toContain(`Is ${name} installed`);
  expect(lackingProgram(internal('something else'), of(type, format))).toMatchObject({ message: 'something else' });
});

it.each(['rbd', 'gluster', 'iscsi-direct'] as const)('a pool of type %s that libvirt does not know', (type) => {
  const e = internal('internal error: missing backend for pool type');
  expect(String(lackingDriver(e, of(type)))).toContain(`Is libvirt-daemon-driver-storage-${type} installed`);
  expect(lackingDriver(e, of('dir'))).toBe(e);
});

it('leaves alone what is silent: nothing is lacking there', () => {
  const e = new ClusterError('STORAGE_UNAVAILABLE', 'unknown filesystem type');
  expect(lackingProgram(e, of('netfs', 'nfs'))).toBe(e);
});
