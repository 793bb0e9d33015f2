import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { rawDisk } from '@berth/test/harness/disk-files.ts';
import { disksContract } from '@berth/test/harness/disks-contract.ts';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createSimDrivers, type SimDrivers } from './sim-drivers.ts';

const MIB = 2 ** 20;
const work = { signal: new AbortController().signal, onProgress: () => undefined };
const open: SimDrivers[] = [];
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-sim-'));
});
afterEach(async () => {
  for (const d of open.splice(0)) await d.close();
  await rm(dir, { recursive: true });
});

async function host(name: string, diskBytes?: number): Promise<SimDrivers> {
  const runDir = await mkdtemp(join(dir, `${name}-`));
  const d = createSimDrivers({ name, runDir, clock: systemClock, ...(diskBytes ? { diskBytes } : {}) });
  open.push(d);
  return d;
}

disksContract('a simulated host', async () => ({
  disks: (await host('h1')).disks,
  other: (await host('h2')).disks,
  dispose: async () => undefined,
}));

async function imported({ disks }: SimDrivers, bytes: number): Promise<string> {
  const sink = await disks.openUpload('u', bytes);
  await sink.write(rawDisk(bytes));
  await sink.finish();
  return (await disks.importImage('u', '', work)).digest;
}

it('a full simulated disk refuses uploads and fetches, says how much there is, and keeps nothing of them', async () => {
  const [large, small] = [await host('h1'), await host('h2', 5 * MIB)];
  const digest = await imported(large, 8 * MIB);
  const socket = await large.disks.serveImage(digest);
  const full = { reason: 'DISK_FULL', message: `the pool of h2 has ${5 * MIB} bytes free of ${8 * MIB} wanted` };
  const fetched = small.disks.fetchImage({ digest, virtualSizeBytes: 8 * MIB }, socket, work);
  await expect(fetched).rejects.toMatchObject(full);
  await expect(small.disks.openUpload('u', 8 * MIB)).rejects.toMatchObject(full);
  expect(await small.disks.listImages()).toEqual([]);
  expect(await small.disks.capacity()).toEqual({ diskBytes: 5 * MIB, diskFreeBytes: 5 * MIB });
});

it('two uploads that fit one by one but not together do not both arrive', async () => {
  const small = await host('h1', 5 * MIB);
  const [a, b] = [await small.disks.openUpload('a', 3 * MIB), await small.disks.openUpload('b', 3 * MIB)];
  for (const sink of [a, b]) await sink.write(Buffer.alloc(3 * MIB));
  await a.finish();
  await expect(b.finish()).rejects.toMatchObject({ reason: 'DISK_FULL' });
  expect(await small.disks.hasUpload('b')).toBe(false);
});

it('a fetch waits for a peer that is not there yet, and can be cancelled', async () => {
  const [source, target] = [await host('h1'), await host('h2')];
  const digest = await imported(source, 4 * MIB);
  const stop = new AbortController();
  const waiting = target.disks.fetchImage({ digest, virtualSizeBytes: 4 * MIB }, join(dir, 'nobody'), {
    ...work,
    signal: stop.signal,
  });
  stop.abort();
  await expect(waiting).rejects.toMatchObject({ reason: 'CANCELLED' });
  expect(await target.disks.listImages()).toEqual([]);
});
