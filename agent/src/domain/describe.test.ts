/** From XML back to the spec: what Berth makes comes back equal; what somebody changed is told. */
import { describe, expect, it } from 'vitest';
import type { VolumeSeen } from '../drivers/disks.ts';
import { describeDomain } from './describe.ts';
import { definitionHash, domainXml } from './xml/definition.ts';
import type { DomainHost } from './xml/host.ts';
import { specHash, type DomainSpec } from './spec.ts';

const spec: DomainSpec = {
  vmId: 'vm-web',
  uuid: '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10',
  name: 'web',
  vcpus: 2,
  memoryBytes: 512 * 2 ** 20,
  disks: [
    { target: 'vda', volumeId: 'volume-1' },
    { target: 'vdb', volumeId: 'volume-2' },
  ],
  nics: [{ mac: '52:54:00:01:02:03', bridge: 'br0', model: 'virtio' }],
  seedVolumeId: 'volume-3',
  generation: 3,
};
const path = (id: string): string => `/pool/${id}`;
const host: DomainHost = {
  domainType: 'qemu',
  emulatorPath: '/usr/bin/qemu-system-x86_64',
  directIo: true,
  serialLogPath: '/log',
  bootDir: '/boot',
  volumeFormat: () => 'qcow2',
  mediumPath: (digest) => `/pool/${digest}`,
  volumePath: path,
  imagePath: (id) => (id === 'volume-1' ? '/pool/image' : undefined),
};
const volume = (volumeId: string, seed = false): [string, VolumeSeen] => [
  path(volumeId),
  { volumeId, vmId: 'vm-web', seed, sizeBytes: 1, allocatedBytes: 1, imageDigest: undefined },
];
const volumes = new Map([volume('volume-1'), volume('volume-2'), volume('volume-3', true)]);
const mark = (s: DomainSpec) => ({
  ...{ vmId: s.vmId, specHash: specHash(s), generation: s.generation },
  ...{ definitionHash: definitionHash(s, host), fixed: [] },
});
const read = (xml: string, made = spec) => describeDomain({ xml, mark: mark(made), volumes, images: new Map(), host });

describe('a domain that is described', () => {
  it('gives the spec that it was made from', () => {
    const found = read(domainXml(spec, host));
    expect(found).toMatchObject({ spec, changes: [] });
    expect(found.volumes.map((v) => v.volumeId)).toEqual(['volume-1', 'volume-2', 'volume-3']);
    const bare: DomainSpec = { ...spec, disks: [], nics: [], seedVolumeId: undefined };
    expect(read(domainXml(bare, host), bare)).toMatchObject({ spec: bare, changes: [], volumes: [] });
    const [only] = spec.disks;
    const small: DomainSpec = { ...spec, disks: [only!], seedVolumeId: undefined };
    expect(read(domainXml(small, host), small)).toMatchObject({ spec: small, changes: [] });
  });

  it('says what somebody has changed: sizes, disks and network cards', () => {
    const xml = domainXml(spec, host);
    expect(read(xml.replaceAll('>524288<', '>1048576<'))).toMatchObject({
      spec: { memoryBytes: 2 ** 30 },
      changes: ['its sizes, disks, network cards or other hardware are not as Berth made them'],
    });
    expect(read(xml.replace('/pool/volume-2', '/srv/mine.img')).changes).toEqual([
      "disk vdb (/srv/mine.img) is not in Berth's pool",
    ]);
    const user = "<interface type='user'><mac address='52:54:00:aa:bb:cc'/></interface></devices>";
    expect(read(xml.replace('</devices>', user)).changes).toEqual(['network card 52:54:00:aa:bb:cc is on no bridge']);
    expect(read(xml.replace('unit="KiB">524288', 'unit="MiB">512')).changes).toEqual([]);
  });

  it('refuses what can be no spec, and survives what is no domain', () => {
    const xml = domainXml(spec, host);
    for (const bad of [xml.replace('<vcpu placement="static">2', '<vcpu>many'), '', '<domain/>', '<<<', '<a><b/></a>'])
      expect(() => read(bad)).toThrow(/nothing that Berth could have made/);
  });
});
