import { describe, expect, it } from 'vitest';
import { Hardware } from '@berth/proto/agent/v1/machine.ts';
import { toInventory } from './decode-inventory.ts';

describe('the hardware that a host tells of', () => {
  it('is taken as it is', () => {
    const said = Hardware.fromPartial({
      cpu: { model: 'EPYC', sockets: 2, cores: 4, threads: 8 },
      disks: [{ name: 'sda', sizeBytes: 2n ** 40n, rotational: true }],
      pci: [{ address: '0000:00:01.0', iommuGroup: 0 }, { address: '0000:00:02.0' }],
      nics: [{ name: 'eth0', link: 'up' }],
    });
    const read = toInventory(said);
    expect(read.cpu).toEqual({ model: 'EPYC', sockets: 2, cores: 4, threads: 8 });
    expect(read.disks[0]).toMatchObject({ name: 'sda', sizeBytes: 2 ** 40, rotational: true });
    expect(read.pci.map((d) => d.iommuGroup)).toEqual([0, undefined]);
    expect(read.nics[0]?.link).toBe('up');
  });

  it('is bounded and harmless, whatever a lying host says', () => {
    const device = { vendor: '\x1b[2Jx'.repeat(1000), product: 'a\nb' };
    const said = Hardware.fromPartial({
      usb: Array.from({ length: 5000 }, () => device),
      numa: [{ memoryBytes: 2n ** 64n - 1n, distances: Array.from({ length: 9999 }, () => 1) }],
      nics: [{ link: 'sideways' }],
    });
    const { cpu, usb, numa, nics } = toInventory(said);
    expect(cpu).toEqual({ model: '', sockets: 0, cores: 0, threads: 0 });
    expect(usb).toHaveLength(512);
    expect(usb[0]?.vendor.length).toBeLessThanOrEqual(128);
    expect(usb[0]?.vendor).not.toContain('\x1b');
    expect(usb[0]?.product).toBe('a b');
    expect(numa[0]?.memoryBytes).toBe(Number.MAX_SAFE_INTEGER);
    expect(numa[0]?.distances).toHaveLength(256);
    expect(nics[0]?.link).toBe('unknown');
  });
});
