import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseNodeMemory } from './cpu.ts';
import { busOf } from './disks.ts';
import { each } from './each.ts';
import { linkOf } from './nics.ts';
import { hex, natural, parseCpuList, words } from './numbers.ts';
import { pciAddressIn } from './pci.ts';
import { parsePciIds } from './pci-names.ts';

/** Ranges as the kernel writes them. */
const cpuSets = fc.uniqueArray(fc.nat({ max: 4095 }), { maxLength: 200 }).map((cpus) => cpus.sort((a, b) => a - b));
const written = (cpus: readonly number[]): string =>
  cpus
    .reduce<[number, number][]>((runs, cpu) => {
      const last = runs.at(-1);
      if (last?.[1] === cpu - 1) last[1] = cpu;
      else runs.push([cpu, cpu]);
      return runs;
    }, [])
    .map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`))
    .join(',');

describe('lists of CPUs', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(cpuSets, (cpus) => {
        expect(parseCpuList(`${written(cpus)}\n`)).toEqual(cpus);
      }),
    );
  });

  it('of whatever text are sorted, bounded, and each CPU once', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[\d,-]{0,60}$/)), (text) => {
        const cpus = parseCpuList(text);
        expect(cpus.length).toBeLessThanOrEqual(65_536);
        expect([...new Set(cpus)].sort((a, b) => a - b)).toEqual(cpus);
      }),
    );
  });
});

describe('small texts', () => {
  it('are numbers only where nothing else stands beside them', () => {
    expect(natural(' 42\n')).toBe(42);
    for (const text of ['-1', '', 'x', '1 2', '9'.repeat(30)]) expect(natural(text)).toBeUndefined();
    expect(hex('0x1AF4\n')).toBe('1af4');
    expect(hex('1af4')).toBe('');
  });

  it('are numbers that can be counted with, and words that are short, whatever stands there', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 500 }), (text) => {
        const n = natural(text);
        expect(n === undefined || Number.isSafeInteger(n)).toBe(true);
        expect(hex(text)).toMatch(/^[0-9a-f]{0,8}$/);
        expect(words(text).length).toBeLessThanOrEqual(128);
        expect(words(text)).not.toMatch(/\n|\0| {2}/);
        const { totalBytes, freeBytes } = parseNodeMemory(text);
        expect(freeBytes).toBeLessThanOrEqual(totalBytes);
      }),
    );
  });
});

describe('places and buses', () => {
  it('of a device are the last one on its path', () => {
    expect(pciAddressIn('/sys/devices/pci0000:00/0000:00:03.0/0000:04:00.1/virtio2')).toBe('0000:04:00.1');
    expect(pciAddressIn('/sys/devices/virtual/net/lo')).toBe('');
  });

  it.each([
    ['nvme0n1', '/x', 'nvme'],
    ['mmcblk0', '/x', 'mmc'],
    ['sda', '/sys/devices/pci/usb2/2-1/host1', 'usb'],
    ['vda', '/sys/devices/pci/virtio3/block', 'virtio'],
    ['sda', '/sys/devices/pci/ata2/host1', 'ata'],
    ['sda', '/sys/devices/pci/host1', 'scsi'],
  ])('of disk %s at %s is %s', (name, path, bus) => expect(busOf(name, path)).toBe(bus));

  it('of a link: a carrier counts where the driver does not know its state', () => {
    expect(linkOf('up', '1')).toBe('up');
    expect(linkOf('unknown', '1')).toBe('up');
    expect(linkOf('unknown', '')).toBe('unknown');
    expect(linkOf('lowerlayerdown', '0')).toBe('down');
  });
});

describe('names of PCI devices', () => {
  it('whatever the list holds, each device gets words of its own, or none', () => {
    const line = fc
      .tuple(fc.constantFrom('', '\t', '\t\t', 'C '), fc.stringMatching(/^[0-9a-f]{2,4}$/), fc.string())
      .map(([a, b, c]) => `${a}${b}  ${c}`);
    fc.assert(
      fc.property(fc.array(line, { maxLength: 50 }), (lines) => {
        const named = parsePciIds(lines.join('\n'), [{ vendorId: 'aa', deviceId: 'bb', classId: '020000' }]);
        const { vendor, device, className } = named({ vendorId: 'aa', deviceId: 'bb', classId: '020000' });
        for (const s of [vendor, device, className]) expect(s.length).toBeLessThanOrEqual(128);
        expect(className).not.toBe('');
      }),
    );
  });
});

describe('many small things', () => {
  it('come in their order, some left out, no more than a few at a time', async () => {
    let open = 0;
    let most = 0;
    const all = await each([...Array(200).keys()], async (n) => {
      most = Math.max(most, ++open);
      await Promise.resolve();
      open--;
      return n % 2 === 0 ? n : undefined;
    });
    expect(all).toEqual([...Array(100).keys()].map((n) => 2 * n));
    expect(most).toBeLessThanOrEqual(16);
  });
});
