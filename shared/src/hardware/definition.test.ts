/** Definitions in people's form: what is read, what is refused and where, and that nothing is lost on the way there and back. */
import { VmSpec } from '@berth/proto/v1/vm.ts';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { parseDocuments } from '../yaml/documents.ts';
import { definitionFromWire, definitionToWire } from './definition-wire.ts';
import { definitionSchema, type VmDefinition } from './definition.ts';
import { EVERYTHING, EVERY_DISK_OPTION, EVERY_NIC_OPTION } from './everything.fixture.ts';
import { readForm, writeForm } from './form.ts';

const WHOLE: VmDefinition = {
  ...EVERYTHING,
  ...{ vcpus: 4, memoryBytes: 4 * 2 ** 30, runPolicy: 'always', osVariant: 'rhel7' },
  disks: [{ ...EVERY_DISK_OPTION, target: 'vda', sizeBytes: 10 * 2 ** 30, image: 'base' }],
  cdroms: [{ target: 'sda', bus: 'sata', image: 'centos' }],
  nics: [
    {
      ...EVERY_NIC_OPTION,
      ...{ mac: '52:54:00:00:00:01', bridge: 'br0', model: 'virtio' },
      ...{ address: '10.0.0.2/24', gateway: '10.0.0.1', dns: ['10.0.0.1'] },
    },
  ],
};

const faults = (text: string): string[] => {
  const [doc] = parseDocuments('web.yaml', text);
  const read = readForm(definitionSchema, doc?.value);
  return read.faults.map((f) => `${doc?.lineOf(f.path)}: ${f.path.join('.')} ${f.why}`);
};

describe("people's form", () => {
  it('says everything that a definition can say, and is read back as it was written', () => {
    const text = stringify(writeForm(WHOLE));
    expect(text).not.toMatch(/Bytes:|Ms:/);
    expect(text).toMatch(/^memory: 4GiB$/m);
    expect(text).toMatch(/menuTimeout: 3s/);
    const [doc] = parseDocuments('web.yaml', text);
    expect(readForm(definitionSchema, doc?.value)).toEqual({ value: WHOLE, faults: [] });
  });

  it('takes numbers where YAML makes them of texts', () => {
    const text =
      'tpm: {version: 2.0}\ncpu: {emulatorCpus: 3}\ndisks: [{serial: 123}]\nboot:\nnics: [{inbound: {averageBytesPerSecond: 10MiB}}]';
    expect(readForm(definitionSchema, parseDocuments('f', text)[0]?.value)).toMatchObject({
      value: {
        ...{ tpm: { version: '2.0' }, cpu: { emulatorCpus: '3' }, disks: [{ serial: '123' }] },
        nics: [{ inbound: { averageBytesPerSecond: 10 * 2 ** 20 } }],
      },
    });
  });

  it('is refused with every fault at once, each with its line and, of a wrong name, the nearest', () => {
    const text = `memroy: 2GiB
vcpus: 0
memory: 2048
disks:
  - size: 10GiB
    cach: none
  - size: ten
    bus: nvme
boot:
  order: [floppy]
wibble: 1
`;
    const found = faults(text);
    expect(found.slice(0, 4)).toEqual([
      '1: memroy is no field here: did you mean memory?',
      '3: memory "2048" is not a size: write a number with a unit, like 20GiB or 512MiB',
      '6: disks.0.cach is no field here: did you mean cache?',
      '7: disks.1.size "ten" is not a size: write a number with a unit, like 20GiB or 512MiB',
    ]);
    expect(found.slice(4).map((f) => f.split(': known')[0])).toEqual([
      '11: wibble is no field here',
      '2: vcpus must be at least 1',
      '8: disks.1.bus must be one of virtio, scsi, sata, ide, usb',
      '10: boot.order.0 must be one of disk, cdrom, network',
    ]);
  });

  it('does not take the names of the API, whose values have no unit', () =>
    expect(faults('memoryBytes: 12')).toEqual(['1: memoryBytes is no field here: did you mean memory?']));
});

it('arrives over the wire as it was sent, every field of it', () => {
  const sent = VmSpec.decode(VmSpec.encode(definitionToWire(WHOLE)).finish());
  expect(definitionFromWire('vm web', sent)).toEqual(WHOLE);
});

it('says where a YAML file is none', () => {
  expect(() => parseDocuments('web.yaml', 'a: 1\nb: [1\nc: 2')).toThrow(/^web\.yaml:\d: /);
  expect(parseDocuments('web.yaml', '---\n---\na: 1\n---\n').map((d) => d.line)).toEqual([3]);
});
