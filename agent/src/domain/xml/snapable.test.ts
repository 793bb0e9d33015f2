/** Which disks go into a snapshot, and why there can be none, in words. */
import { describe, expect, it } from 'vitest';
import { disksOfThen, readSnapable } from './snapable.ts';

const file = (target: string, more = '', format = 'qcow2'): string =>
  `<disk type="file" device="disk"><driver name="qemu" type="${format}"/><source file="/v/${target}"/>${more}<target dev="${target}"/></disk>`;
const domain = (devices: string, os = '<os/>'): string => `<domain>${os}<devices>${devices}</devices></domain>`;
const on = { memory: true, off: false };
const SEED = file('vdz', '<readonly/>', 'raw');
const CDROM = `<disk type="file" device="cdrom"><driver name="qemu" type="raw"/><target dev="sda"/></disk>`;

describe('a snapshot', () => {
  it('has the disks that are written to, and neither seed nor CD-ROM', () => {
    const xml = domain(file('vda') + file('vdb') + SEED + CDROM);
    expect(readSnapable(xml, on)).toEqual({ disks: ['vda', 'vdb'], others: ['vdz', 'sda'] });
    expect(disksOfThen(xml)).toContainEqual({ target: 'vdz', file: '/v/vdz' });
  });

  it.each([
    [
      'a raw disk',
      file('vda') + file('vdb', '', 'raw'),
      'disk vdb is raw, which cannot hold snapshots: convert it first',
    ],
    [
      'a device',
      `<disk type="block" device="disk"><driver type="raw"/><target dev="vda"/></disk>`,
      'disk vda is no file',
    ],
    ['a disk that moves', file('vda', '<mirror/>'), 'disk vda is being moved'],
    ['a shared disk', file('vda', '<shareable/>'), 'shared with other VMs'],
    ['no disk', SEED, 'it has no disk'],
  ])('is refused of %s', (_, devices, why) => {
    for (const how of [on, { memory: false, off: true }]) expect(readSnapable(domain(devices), how).why).toContain(why);
  });

  it('has no memory of a guest with UEFI or a device of its host, but its disks', () => {
    const efi = domain(file('vda'), '<os firmware="efi"/>');
    const flash = domain(file('vda'), '<os><loader type="pflash">x</loader></os>');
    const passed = domain(`${file('vda')}<hostdev/>`);
    for (const xml of [efi, flash, passed]) {
      expect(readSnapable(xml, on).why).toContain('use --disk-only');
      for (const how of [
        { memory: false, off: false },
        { memory: false, off: true },
      ])
        expect(readSnapable(xml, how).why).toBeUndefined();
    }
  });
});
