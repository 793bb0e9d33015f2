/** Disks that are no files: a golden file for each kind, and the name by which they are found again. */
import { expect, it } from 'vitest';
import { expectGolden } from '@berth/test/harness/golden.ts';
import { blockPath, type BlockSource } from '../../drivers/disks.ts';
import { diskXml } from './disk.ts';
import { disksIn } from './live.ts';
import { host } from './themes.fixture.ts';

const SOURCES: readonly BlockSource[] = [
  { type: 'block', dev: '/dev/vg0/volume-root' },
  {
    ...{ type: 'network', protocol: 'rbd', name: 'vms/volume-root', hosts: ['mon1:6789', 'mon2', '[fd00::7]:3300'] },
    auth: { user: 'berth', secretUuid: '528e4ae7-652b-58e1-a217-caeb5bf180e1' },
  },
  { type: 'network', protocol: 'rbd', name: 'vms/volume-root', hosts: ['mon1'] },
];
const xmlOf = (source: BlockSource): string => {
  const disk = { target: 'vda', volumeId: 'volume-a' };
  const raw = { ...host, volumeSource: () => source, volumeFormat: () => 'raw' as const };
  const spec = { vmId: 'vm-1', uuid: '', name: 'web', vcpus: 1, memoryBytes: 1, disks: [disk], nics: [] };
  return diskXml({ ...spec, seedVolumeId: undefined, generation: 1 }, disk, 0, raw);
};

it('are said as they were', () =>
  expectGolden(import.meta.url, 'block-sources.golden.xml', SOURCES.map((s) => `${xmlOf(s)}\n`).join('\n')));

it('are found in what runs by the path that the volume has', () => {
  for (const source of SOURCES) {
    const domain = `<domain><devices>${xmlOf(source)}</devices></domain>`;
    expect(disksIn(domain)).toEqual([{ target: 'vda', file: blockPath(source) }]);
  }
});
