/** What a definition may say, what must fit together, and that nothing of it is lost on the wire. */
import { VmDiskOptions, VmHardware, VmNicOptions } from '@berth/proto/v1/hardware.ts';
import { describe, expect, it } from 'vitest';
import { checkDiskOptions, checkHardware, checkMachine, checkNicOptions } from './check.ts';
import { EVERYTHING, EVERY_DISK_OPTION, EVERY_NIC_OPTION } from './everything.fixture.ts';
import type { Machine } from './machine.ts';
import { diskOptionsSchema, hardwareSchema, nicOptionsSchema, type Hardware } from './schema.ts';
import { freeTarget } from './targets.ts';
import { cpusOf } from './values.ts';
import {
  diskOptionsToWire,
  fromWire,
  hardwareFromWire,
  hardwareToWire,
  nicOptionsToWire,
  withoutSecrets,
} from './wire.ts';

const GIB = 2 ** 30;
const machine = (hardware: Hardware, over: Partial<Machine> = {}): Machine => ({
  ...{ vcpus: 4, memoryBytes: 4 * GIB, hardware, disks: [], cdroms: [], nics: [] },
  ...over,
});
const faults = (hardware: Hardware, over?: Partial<Machine>): string => {
  try {
    checkMachine('vm web', machine(hardware, over));
    return '';
  } catch (e) {
    return (e as Error).message;
  }
};

describe('a definition on the wire', () => {
  it('arrives as it was sent, every field of it', () => {
    const hardware = VmHardware.decode(VmHardware.encode(VmHardware.fromPartial(hardwareToWire(EVERYTHING))).finish());
    expect(checkHardware('vm web', hardwareFromWire(hardware))).toEqual(EVERYTHING);
    const disk = VmDiskOptions.decode(
      VmDiskOptions.encode(VmDiskOptions.fromPartial(diskOptionsToWire(EVERY_DISK_OPTION))).finish(),
    );
    expect(checkDiskOptions('d', fromWire(disk))).toEqual(EVERY_DISK_OPTION);
    const nic = VmNicOptions.decode(
      VmNicOptions.encode(VmNicOptions.fromPartial(nicOptionsToWire(EVERY_NIC_OPTION))).finish(),
    );
    expect(checkNicOptions('n', fromWire(nic))).toEqual(EVERY_NIC_OPTION);
  });

  it('has the same fields as the schema', () => {
    expect(Object.keys(EVERYTHING).sort()).toEqual(Object.keys(hardwareSchema.shape).sort());
    expect(Object.keys(EVERY_DISK_OPTION).sort()).toEqual(Object.keys(diskOptionsSchema.shape).sort());
    expect(Object.keys(EVERY_NIC_OPTION).sort()).toEqual(Object.keys(nicOptionsSchema.shape).sort());
    const fields = (m: object) => Object.keys(m).sort();
    expect(fields(VmHardware.create())).toEqual(Object.keys(hardwareSchema.shape).sort());
    expect(fields(VmDiskOptions.create())).toEqual(Object.keys(diskOptionsSchema.shape).sort());
    expect(fields(VmNicOptions.create())).toEqual(Object.keys(nicOptionsSchema.shape).sort());
  });

  it('is undefined when nothing is said', () => expect(hardwareFromWire(VmHardware.create())).toBeUndefined());

  it('loses its passwords, and says that there are some', () => {
    const said = JSON.stringify(withoutSecrets(hardwareToWire(EVERYTHING)), (_, v: unknown) =>
      typeof v === 'bigint' ? String(v) : v,
    );
    expect(said).not.toContain('foobar');
    expect(said).toContain('"passwordSet":true');
    const back = hardwareFromWire(VmHardware.fromPartial(withoutSecrets(hardwareToWire(EVERYTHING))));
    expect(checkHardware('vm web', back).graphics?.[0]).not.toHaveProperty('passwordSet');
  });
});

describe('a definition', () => {
  it('that says everything is one machine', () =>
    expect(
      faults(EVERYTHING, {
        disks: [{ target: 'vda', options: EVERY_DISK_OPTION }],
        cdroms: [{ target: 'sda', bus: 'sata' }],
        nics: [{ model: 'virtio', options: EVERY_NIC_OPTION }],
      }),
    ).toBe(''));

  it.each([
    [{ machine: 'q35"/>' }, 'vm web: machine must be q35'],
    [{ cpu: { mode: 'quantum' } }, 'vm web: cpu.mode must be one of host-model'],
    [{ cpu: { topology: { sockets: 1, cores: 2 } } }, 'vm web: cpu.topology.threads'],
    [{ speed: 9 }, 'vm web: speed is no field of a definition'],
    [{ maxMemoryBytes: -1 }, 'vm web: maxMemoryBytes must be at least 16 MiB'],
    [{ maxMemoryBytes: 2 ** 24 + 1 }, 'vm web: maxMemoryBytes must be a multiple of 1 MiB'],
    [{ serialPorts: 1.5 }, 'vm web: serialPorts must be a whole number'],
    [
      { kernel: { kernel: '/etc/shadow' } },
      "vm web: kernel.kernel must be the name of a file in the host's boot directory",
    ],
    [{ kernel: { kernel: '../vmlinuz' } }, 'vm web: kernel.kernel must be the name'],
    [{ kernel: { kernel: 'k', commandLine: 'a\nb' } }, 'vm web: kernel.commandLine must not have control characters'],
    [{ graphics: [{ type: 'vnc', listen: 'example.org' }] }, 'vm web: graphics.0.listen must be an IP address'],
    [{ graphics: [{ type: 'vnc', port: 22 }] }, 'vm web: graphics.0.port must be at least 5900'],
    [{ hostDevices: [{ pci: '3' }] }, 'vm web: hostDevices.0.pci must be a PCI address'],
    [{ hostDevices: [{}] }, 'vm web: hostDevices.0 must be either pci'],
    [{ cpu: { pinning: [{ vcpu: 0, cpus: '0;reboot' }] } }, 'vm web: cpu.pinning.0.cpus must name CPUs'],
    ['web', 'vm web: expected object'],
  ])('is refused field by field: %j', (value, words) => {
    expect(() => checkHardware('vm web', value)).toThrow(words);
  });

  it.each<[Hardware, Partial<Machine>, string]>([
    [{ maxVcpus: 2 }, {}, 'maxVcpus must be at least the 4 vCPUs'],
    [{ maxMemoryBytes: GIB }, {}, 'maxMemory must be at least the 4 GiB'],
    [{ cpu: { topology: { sockets: 1, cores: 3, threads: 1 } } }, {}, 'cpu.topology has 3 threads'],
    [{ cpu: { mode: 'custom' } }, {}, 'cpu.model is missing'],
    [{ cpu: { model: 'Nehalem' } }, {}, 'cpu.model is only for mode custom'],
    [{ cpu: { pinning: [{ vcpu: 4, cpus: '0' }] } }, {}, 'is 4, but the last vCPU is 3'],
    [{ cpu: { pinning: [{ vcpu: 0, cpus: '0,^0' }] } }, {}, 'leaves no CPU'],
    [{ cpu: { numa: [{ cpus: '0-2', memoryBytes: 4 * GIB }] } }, {}, 'must hold each of the vCPUs 0 to 3'],
    [{ cpu: { numa: [{ cpus: '0-3', memoryBytes: GIB }] } }, {}, 'cpu.numa has 1 GiB in all'],
    [{ memoryBacking: { hugepageBytes: GIB } }, { memoryBytes: 512 * 2 ** 20 }, 'must be a multiple of 1 GiB'],
    [{ firmware: { type: 'bios', secureBoot: true } }, {}, 'needs firmware type uefi'],
    [{ machine: 'pc', firmware: { type: 'uefi', secureBoot: true } }, {}, 'needs machine q35'],
    [{ boot: { order: ['disk', 'disk'] } }, {}, 'names a device twice'],
    [{ boot: { order: ['cdrom'] } }, {}, 'the VM has no CD-ROM drive'],
    [{ clock: { offset: 'timezone' } }, {}, 'clock.timezone is missing'],
    [{ graphics: [{ type: 'vnc', port: 5901 }] }, {}, 'needs listen'],
    [{ graphics: [{ type: 'vnc', password: 'longer than eight' }] }, {}, 'longer than the 8 characters'],
    [{ graphics: [{ type: 'none' }, { type: 'vnc' }] }, {}, 'has none beside others'],
    [{}, { disks: [{ target: 'hda' }] }, 'ide needs machine pc'],
    [{ machine: 'pc' }, { disks: [{ target: 'vda', options: { bus: 'ide' } }] }, 'vda is not on bus ide'],
    [{}, { disks: [{ target: 'sda' }], cdroms: [{ target: 'sda', bus: 'sata' }] }, 'sda is given twice'],
    [{}, { disks: [{ target: 'vda', options: { ioThread: 1 } }] }, 'ioThreads is 0'],
    [{}, { disks: [{ target: 'vda', options: { cache: 'writeback', io: 'native' } }] }, 'native needs cache none'],
    [{ lifecycle: { onPoweroff: 'restart', onReboot: 'destroy' } }, {}, 'cannot have onPoweroff restart'],
    [{ video: { model: 'virtio', vramBytes: 2 ** 24 } }, {}, 'has no memory of its own'],
    [{ video: { heads: 2 } }, {}, 'video.heads must be 1 for vga'],
    [{ video: { model: 'ramfb', pciAddress: '0000:00:02.0' } }, {}, 'is not for ramfb'],
    [{ sound: { model: 'usb', pciAddress: '0000:00:04.0' } }, {}, 'is not for usb'],
    [{ balloon: { model: 'none', pciAddress: '0000:00:04.0' } }, {}, 'is of no balloon'],
    [{}, { disks: [{ target: 'sda', options: { pciAddress: '0000:00:04.0' } }] }, 'is only for bus virtio'],
    [{ usbController: 'none', usbTablet: true }, {}, 'usbController is none'],
    [{ machine: 'pc', watchdog: { model: 'itco' } }, {}, 'itco needs machine q35'],
    [{}, { nics: [{ model: 'e1000', options: { queues: 2 } }] }, 'needs model virtio'],
  ])('whose parts do not fit is refused: %j %j', (hardware, over, words) => {
    expect(faults(hardware, over)).toContain(words);
  });

  it('tells all its faults at once', () =>
    expect(
      faults({ maxVcpus: 2, watchdog: { model: 'itco' }, machine: 'pc', clock: { timezone: 'UTC' } }).split('\n'),
    ).toHaveLength(3));
});

describe('sets and names', () => {
  it('of CPUs are read as libvirt reads them', () => {
    expect(cpusOf('0-3,^2,8')).toEqual([0, 1, 3, 8]);
    expect(cpusOf('3-1')).toEqual([]);
  });
  it('of disks go on where the last ended, until the bus is full', () => {
    expect(freeTarget('virtio', ['vda', 'vdc'])).toBe('vdb');
    expect(freeTarget('scsi', ['sda'])).toBe('sdb');
    expect(freeTarget('ide', ['hda', 'hdb', 'hdc', 'hdd'])).toBeUndefined();
  });
});
