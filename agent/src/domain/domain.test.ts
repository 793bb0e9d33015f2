/** Domain XML (golden), our mark in it, and what a spec may hold. */
import fc from 'fast-check';
import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { describe, expect, it } from 'vitest';
import { expectGolden } from '@berth/test/harness/golden.ts';
import { domainXml } from './xml/definition.ts';
import type { DomainHost } from './xml/host.ts';
import { metadataXml, readMark } from './metadata.ts';
import { checkDomainSpec, specHash, type DomainSpec } from './spec.ts';

const host: DomainHost = {
  domainType: 'qemu',
  emulatorPath: '/usr/bin/qemu-system-x86_64',
  directIo: true,
  serialLogPath: '/var/lib/berth/serial/vm-web.log',
  bootDir: '/var/lib/berth/boot',
  volumeFormat: () => 'qcow2',
  mediumPath: (digest) => `/var/lib/berth/images/${digest.slice(7)}.qcow2`,
  imagePath: (id) => (id === 'volume-root' ? `/var/lib/berth/images/${'5f'.repeat(32)}.qcow2` : undefined),
  volumePath: (id, seed) => `/var/lib/berth/volumes/${id}.${seed ? 'iso' : 'qcow2'}`,
};
const web: DomainSpec = {
  vmId: 'vm-web',
  uuid: '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10',
  name: 'web',
  vcpus: 2,
  memoryBytes: 512 * 2 ** 20,
  disks: [
    { target: 'vda', volumeId: 'volume-root' },
    { target: 'vdb', volumeId: 'volume-data' },
  ],
  nics: [{ mac: '52:54:00:0a:0b:0c', bridge: 'br0', model: 'virtio' }],
  seedVolumeId: 'volume-seed',
  generation: 3,
};

describe('domain XML', () => {
  it('is what it was, emulated on a pool with direct I/O', () =>
    expectGolden(import.meta.url, 'emulated.golden.xml', domainXml(web, host)));

  it('is what it was, with KVM on a pool without', () =>
    expectGolden(import.meta.url, 'kvm.golden.xml', domainXml(web, { ...host, domainType: 'kvm', directIo: false })));

  it('is what it was, over an image that is read through a socket while it fills', () => {
    const baseSocket = (id: string) => (id === 'volume-root' ? '/var/lib/berth/run/fetch-5f5f/base' : undefined);
    expectGolden(import.meta.url, 'filling.golden.xml', domainXml(web, { ...host, baseSocket }));
  });

  it('is what it was, without disks, seed and network', () =>
    expectGolden(
      import.meta.url,
      'bare.golden.xml',
      domainXml({ ...web, disks: [], nics: [], seedVolumeId: undefined }, host),
    ));

  it('is well-formed and says what it was told, whatever the values hold', () => {
    const parser = new XMLParser({ processEntities: true, parseTagValue: false, trimValues: false });
    fc.assert(
      fc.property(fc.string(), fc.string({ unit: 'grapheme' }), (name, path) => {
        const xml = domainXml({ ...web, name }, { ...host, serialLogPath: path, emulatorPath: path });
        expect(XMLValidator.validate(xml)).toBe(true);
        expect(Object.keys(parser.parse(xml) as object)).toEqual(['domain']);
      }),
    );
    const nasty = domainXml({ ...web, name: '</name><os>&"\'' }, host);
    expect((parser.parse(nasty) as { domain: { name: string } }).domain.name).toBe('</name><os>&"\'');
  });
});

describe('our mark in a domain', () => {
  it('is read back, also when libvirt prints it in its own way', () => {
    const mark = { vmId: 'vm-web', specHash: 'abc', generation: 3, definitionHash: 'def', fixed: [] };
    expect(readMark(metadataXml(mark))).toEqual(mark);
    const other = `<b:vm xmlns:b='urn:berth:vm:1'>\n<b:generation>3</b:generation><b:id>vm-web</b:id><b:spec>abc</b:spec></b:vm>`;
    expect(readMark(other)).toEqual({ ...mark, definitionHash: '' }); // from before there was one
  });

  it.each([undefined, '', '<vm/>', '<x:vm><x:id>not an id!</x:id></x:vm>', '<<<', '<vm><id>host-1</id></vm>'])(
    'is not seen in %j',
    (xml) => expect(readMark(xml)).toBeUndefined(),
  );
});

describe('a domain spec', () => {
  it('has the same hash in any order of fields and in any generation', () => {
    const { name, ...rest } = web;
    expect(specHash({ ...rest, generation: 9, name })).toBe(specHash(web));
    expect(specHash({ ...web, vcpus: 3 })).not.toBe(specHash(web));
  });

  it('is given back in its normal form', () => {
    const nic = { mac: '52:54:00:AA:BB:CC', bridge: 'br0', model: '' };
    expect(checkDomainSpec({ ...web, nics: [nic] }).nics).toEqual([
      { mac: '52:54:00:aa:bb:cc', bridge: 'br0', model: 'virtio' },
    ]);
  });

  const names = ['', '.hidden', 'a/b', '..', 'a..b', 'a b', 'a\nb', 'x'.repeat(64), 'ü', '-x'];
  it.each(names)('is refused with the name %j', (name) =>
    expect(() => checkDomainSpec({ ...web, name })).toThrow(/name/),
  );

  it.each([
    { vcpus: 0 },
    { vcpus: 1.5 },
    { memoryBytes: 1 },
    { memoryBytes: 512 * 2 ** 20 + 1 },
    { uuid: 'X' },
    { disks: [{ target: 'sdz', volumeId: 'volume-1' }] },
    { disks: [...web.disks, { target: 'vda', volumeId: 'volume-9' }] },
    { seedVolumeId: 'volume-root' },
    { nics: [...web.nics, ...web.nics] },
    { nics: [{ mac: '01:00:5e:00:00:01', bridge: 'br0', model: '' }] },
    { nics: [{ mac: '52:54:00:00:00:01', bridge: '../x', model: '' }] },
    { nics: [{ mac: '52:54:00:00:00:01', bridge: 'br0', model: 'evil' }] },
    { cdroms: [{ target: 'sda', bus: 'usb' as const }] },
    { cdroms: [{ target: 'sda', bus: 'sata' as const, imageDigest: '../x' }] },
  ])('is refused with %j', (over) => expect(() => checkDomainSpec({ ...web, ...over })).toThrow());
});
