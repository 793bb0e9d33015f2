/** Tests of who runs with a file: the last look at a domain may be older than its start. */
import { expect, it } from 'vitest';
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { DomainSeen } from '../drivers/hypervisor.ts';
import { insistUnused, userOf } from './using.ts';

const FILE = '/var/lib/berth/volumes/vol-1.qcow2';
const XML = `<domain><devices><disk type='file' device='disk'><source file='${FILE}'/><target dev='vda'/></disk></devices></domain>`;
const seen = (name: string, power: DomainSeen['power']): DomainSeen =>
  ({ uuid: `uuid-of-${name}`, name, power }) as DomainSeen;
const host = (domains: readonly DomainSeen[], running: (uuid: string) => Promise<string>) => ({
  list: () => Promise.resolve(domains),
  getRunningXml: running,
});

it('finds a guest that was off when it was last seen, and runs now', async () => {
  const h = host([seen('web', 'stopped')], () => Promise.resolve(XML));
  expect(await userOf(h, [FILE])).toEqual({ uuid: 'uuid-of-web', name: 'web', target: 'vda' });
});

it('passes over domains that are off, and those that run with other disks', async () => {
  const off = () => Promise.reject(badState('domain web is stopped'));
  expect(await userOf(host([seen('web', 'running')], off), [FILE])).toBeUndefined();
  expect(
    await userOf(
      host([seen('web', 'running')], () => Promise.resolve(XML)),
      ['/elsewhere'],
    ),
  ).toBeUndefined();
});

it('finds a guest by the file that it moved to when its image came', async () => {
  const disks = { volumePath: () => FILE, movedPath: () => '/var/lib/berth/volumes/vol-1.moved.qcow2' };
  const moved = XML.replace(FILE, disks.movedPath());
  const hypervisor = host([seen('web', 'running')], () => Promise.resolve(moved));
  const volume = { volumeId: 'vol-1', seed: false, format: 'qcow2' as const };
  await expect(insistUnused({ hypervisor, disks }, volume)).rejects.toThrow(/domain web runs with it as vda/);
});

it('says nothing when a domain cannot be asked', async () => {
  const silent = () => Promise.reject(new ClusterError('HYPERVISOR_UNAVAILABLE', 'libvirt does not answer'));
  await expect(userOf(host([seen('web', 'stopped')], silent), [FILE])).rejects.toThrow(/does not answer/);
});
