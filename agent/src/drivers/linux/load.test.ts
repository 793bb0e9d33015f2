/** What the machine tells of its load: from texts as real kernels write them. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLoad } from './load.ts';
import { parseDisks, parseLoads, parseNics, parseSwap } from './load-texts.ts';

const NET = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 110971241283 26788481    0    0    0     0          0         0 110971241283 26788481    0    0    0     0       0          0
  ifb0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
 vnet3: 5 5 0 0 0 0 0 0 5 5 0 0 0 0 0 0
   br0: 10 1 0 0 0 0 0 0 20 2 0 0 0 0 0 0
enp1s0:1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0
`;
const DISKS = `   7       0 loop0 16 0 128 0 0 0 0 0 0 0 0 0 0 0 0 0 0
 259       0 nvme0n1 100 0 800 5 50 0 400 6 0 7 8 0 0 0 0 9 9
 259       1 nvme0n1p1 100 0 800 5 50 0 400 6 0 7 8 0 0 0 0 9 9
 253       0 dm-0 100 0 800 5 50 0 400 6 0 7 8
`;

describe('texts of the kernel', () => {
  it('tell disks, added up over those that count', async () => {
    const sum = await parseDisks(DISKS, async (name) => name === 'nvme0n1');
    expect(sum).toEqual({ diskReads: 100, diskReadBytes: 409_600, diskWrites: 50, diskWriteBytes: 204_800 });
  });

  it('tell network cards, with or without a space before the first number', () => {
    expect(parseNics(NET).map((n) => n.name)).toEqual(['lo', 'ifb0', 'vnet3', 'br0', 'enp1s0']);
    expect(parseNics(NET).at(-1)).toEqual({
      ...{ name: 'enp1s0', receiveBytes: 1000, receivePackets: 10, transmitBytes: 2000, transmitPackets: 20 },
      ...{ errors: 4, drops: 6 },
    });
    expect(parseNics('')).toEqual([]);
  });

  it('tell loads and swap, and are refused when they are garbage', () => {
    expect(parseLoads('2.80 1.73 1.07 1/247 10258\n')).toEqual([2.8, 1.73, 1.07]);
    expect(parseSwap('SwapTotal: 10 kB\nSwapFree: 4 kB\n')).toEqual({ swapBytes: 10_240, swapUsedBytes: 6_144 });
    expect(() => parseLoads('x')).toThrow();
  });
});

describe('the load of a machine', () => {
  let root: string;
  const put = async (path: string, text: string): Promise<void> => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  };
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'berth-load-'));
    await put('/proc/stat', 'cpu  100 0 100 700 100 0 0 0 0 0\n');
    await put('/proc/meminfo', 'MemTotal: 100 kB\nMemAvailable: 60 kB\n');
    await put('/proc/loadavg', '0.10 0.20 0.30 1/247 10258\n');
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('names network cards by their kind, real ones first, without those of guests and idle virtual ones', async () => {
    await put('/proc/net/dev', NET);
    await put('/sys/class/net/br0/uevent', 'DEVTYPE=bridge\nINTERFACE=br0\n');
    await put('/sys/class/net/enp1s0/device/vendor', '');
    const { more } = await createLoad(root)();
    expect(more?.nics.map((n) => [n.name, n.kind])).toEqual([
      ['enp1s0', 'physical'],
      ['br0', 'bridge'],
    ]);
  });

  it('counts whole disks only', async () => {
    await put('/proc/diskstats', DISKS);
    await put('/sys/block/nvme0n1/device/model', '');
    expect((await createLoad(root)()).more).toMatchObject({ diskReads: 100, diskWrites: 50 });
  });

  it('is told where the kernel tells neither disks nor network cards', async () => {
    const load = createLoad(root);
    await load();
    await put('/proc/stat', 'cpu  100 0 100 750 150 0 0 0 0 0\ncpu0 1 0\ncpu11 1 0\nctxt 7\n');
    expect(await load()).toMatchObject({
      ...{ cpuUsed: 0, load1: 0.1, memoryUsedBytes: 40_960 },
      more: { cpus: 2, cpuIowait: 0.5, cpuSteal: 0, load5: 0.2, load15: 0.3, nics: [], diskReads: 0, swapBytes: 0 },
    });
  });
});
