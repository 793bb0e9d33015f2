/** What simulated guests say of themselves: what is so, and what only a hostile guest would say. */
import type { SimDomain, SimHost } from '@berth/shared/sim/sim-host.ts';
import type { GuestSaid } from '../guest-agents.ts';

const GIB = 2n ** 30n;

export function simTruth(host: SimHost, d: SimDomain): GuestSaid {
  const seed = [...host.volumes.values()].find((v) => v.files && d.xml.includes(v.volumeId))?.files ?? {};
  const [, address, prefix] = /(\d+\.\d+\.\d+\.\d+)\/(\d+)/.exec(seed['network-config'] ?? '') ?? [];
  const mac = /<mac address=['"]([^'"]+)['"]/.exec(d.xml)?.[1] ?? '';
  return {
    hostname: d.name,
    os: 'Simulated guest 1',
    kernel: '0.1',
    timeZone: 'UTC',
    utcOffsetSeconds: 0,
    interfaces: [
      { name: 'lo', mac: '00:00:00:00:00:00', addresses: [{ address: '127.0.0.1', prefix: 8 }] },
      {
        ...{ name: 'eth0', mac },
        addresses: [{ address: address ?? '10.77.9.9', prefix: Number(prefix ?? 24) }],
      },
    ],
    fileSystems: [{ mountPoint: '/', type: 'ext4', totalBytes: GIB, usedBytes: GIB / 4n }],
    users: [],
  };
}

/** Lengths, counts, letters and numbers that nobody should have to bear. */
export const simLies = (): GuestSaid => ({
  hostname: `evil\n\x1b[2Jhost${'x'.repeat(100_000)}`,
  os: '\x1b]0;owned\x07\u202eedoc',
  kernel: '\r\nroot# rm -rf /',
  timeZone: 'Z'.repeat(1_000_000),
  utcOffsetSeconds: 2 ** 31,
  interfaces: Array.from({ length: 2_000 }, (_, i) => ({
    name: `\x1b[31meth${i}`,
    mac: 'not:a:mac',
    addresses: Array.from({ length: 100 }, () => ({ address: '10.0.0.1; reboot', prefix: -1 })),
  })),
  fileSystems: Array.from({ length: 500 }, () => ({
    ...{ mountPoint: '/\n/etc', type: 'x'.repeat(9_999), totalBytes: -1n, usedBytes: 2n ** 64n },
  })),
  users: Array.from({ length: 5_000 }, (_, i) => ({ name: `u${i}\u0000`, loginAtMs: Number.MAX_VALUE })),
});
