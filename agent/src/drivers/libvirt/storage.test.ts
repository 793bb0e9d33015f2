/** The storage driver over a fake libvirtd: a pool that swallows calls holds up itself alone, and is well again when it answers. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { createLibvirtStorage } from './storage.ts';
import type { Storage } from '../storage.ts';
import { FakeLibvirtd, Refusal } from './fake-libvirtd.ts';
import { STORAGE } from './procedures-storage.ts';

const A = '11111111-1111-1111-1111-111111111111';
const B = '22222222-2222-2222-2222-222222222222';
const xml = (name: string): string =>
  `<pool type='netfs'><name>${name}</name><target><path>/kvm/${name}</path></target></pool>`;

let fake: FakeLibvirtd;
let storage: Storage;
let hang: Promise<void> | undefined;
let asked: string[];
/** Of calls that are to be given up. */
let deadlineMs: number | undefined;
beforeEach(async () => {
  asked = [];
  deadlineMs = undefined;
  hang = undefined;
  fake = await new FakeLibvirtd().listen();
  fake.on(STORAGE.xml, async ({ pool }) => {
    asked.push(pool.uuid);
    if (pool.uuid === A) await hang;
    return { xml: xml(pool.uuid === A ? 'a' : 'b') };
  });
  fake.on(STORAGE.info, () => ({ state: 2, capacity: 100n, allocation: 40n, available: 60n }));
  const socketPath = (): string => fake.socketPath;
  storage = createLibvirtStorage({
    socketPath,
    uri: () => 'storage:///system',
    clock: systemClock,
    get deadlineMs() {
      return deadlineMs;
    },
    extend: async () => undefined,
    replace: async () => undefined,
  });
});
afterEach(async () => {
  await storage.close();
  await fake.dispose();
});

it('reads a pool, and tells one that is not there', async () => {
  expect(await storage.look(A)).toEqual({
    ...{ uuid: A, name: 'a', type: 'netfs', targetPath: '/kvm/a', active: true },
    ...{ capacityBytes: 100, allocationBytes: 40, availableBytes: 60 },
  });
  fake.on(STORAGE.xml, () => {
    throw new Refusal(49, 'no storage pool with matching uuid');
  });
  expect(await storage.look(B)).toBeUndefined();
});

it('waits for a pool that hangs no longer than its deadline, asks it nothing more, and asks others as ever', async () => {
  let answer: () => void = () => undefined;
  hang = new Promise<void>((resolve) => (answer = resolve));
  deadlineMs = 100;
  await expect(storage.look(A)).rejects.toMatchObject({ reason: 'STORAGE_UNAVAILABLE' });
  deadlineMs = undefined;
  expect(storage.silentMs(A)).toBeGreaterThanOrEqual(0);
  const before = asked.length;
  await expect(storage.refresh(A)).rejects.toThrow('does not answer');
  await expect(storage.look(A)).rejects.toThrow('does not answer');
  expect(asked).toHaveLength(before);
  expect(await storage.look(B)).toMatchObject({ name: 'b' });
  expect(storage.silentMs(B)).toBeUndefined();
  answer();
  await expect.poll(() => storage.silentMs(A), { timeout: 10_000 }).toBeUndefined();
  expect(await storage.look(A)).toMatchObject({ name: 'a', active: true });
});

it('does not count the wait for another call, however long that one takes, and tells those that wait when it is too long', async () => {
  let removed: () => void = () => undefined;
  const removal = new Promise<void>((resolve) => (removed = resolve));
  fake.on(STORAGE.findVolume, () => ({ volume: { pool: 'a', name: 'v', key: 'a/v' } }));
  fake.on(STORAGE.deleteVolume, () => removal);
  const removing = storage.removeVolume(A, 'v');
  await expect.poll(() => fake.calls.at(-1), { timeout: 10_000 }).toMatch(/delete/i);
  deadlineMs = 100;
  const looking = storage.look(A);
  fake.on(STORAGE.info, () => new Promise(() => undefined));
  // the deadline of a quick call has passed
  await expect(storage.look(B)).rejects.toMatchObject({ reason: 'STORAGE_UNAVAILABLE' });
  expect(storage.silentMs(A)).toBeUndefined();
  removed();
  await removing;
  const behind = storage.look(A);
  await expect(looking).rejects.toMatchObject({ reason: 'STORAGE_UNAVAILABLE' });
  await expect(behind).rejects.toThrow('pool a does not answer');
});

it('reads secrets while the list waits for a pool', async () => {
  fake.on(STORAGE.listPools, () => new Promise(() => undefined));
  fake.on(STORAGE.findSecret, () => ({ secret: { uuid: B, usageType: 2, usageId: 'pool b' } }));
  fake.on(STORAGE.secretValue, () => ({ value: Buffer.from('hush') }));
  deadlineMs = 100;
  await expect(storage.list()).rejects.toMatchObject({ reason: 'STORAGE_UNAVAILABLE' });
  deadlineMs = undefined;
  expect(String(await storage.secretValue(B))).toBe('hush');
});

it('makes volumes with the format, the owner and the file below that were said, and none twice', async () => {
  let made = '';
  fake.on(STORAGE.createVolume, ({ xml: text }) => {
    made = text;
    return { volume: { pool: 'a', name: 'v', key: '/kvm/a/v' } };
  });
  const wanted = { name: 'v.qcow2', format: 'qcow2', capacityBytes: 4096, backingPath: '/i & j.qcow2' } as const;
  await storage.createVolume(A, wanted);
  expect(made).toContain('<format type="qcow2"/>');
  expect(made).toContain('<mode>0600</mode>');
  expect(made).toContain('<path>/i &amp; j.qcow2</path>');
  fake.on(STORAGE.createVolume, () => {
    throw new Refusal(90, 'storage volume exists already');
  });
  await expect(storage.createVolume(A, wanted)).rejects.toMatchObject({ reason: 'ALREADY_EXISTS' });
});

it('overwrites and removes a volume when libvirt has let go of it, which an agent that was killed had left to libvirt', async () => {
  const volume = { pool: 'a', name: 'v', key: '/dev/a/v' };
  const done: string[] = [];
  let busy = 2;
  const once = (what: string) => () => {
    if (busy-- > 0) throw new Refusal(55, "volume 'v' is still in use.");
    done.push(what);
  };
  fake.on(STORAGE.findVolume, () => ({ volume }));
  fake.on(STORAGE.wipeVolume, once('wiped'));
  fake.on(STORAGE.deleteVolume, once('removed'));
  await storage.wipeVolume(A, 'v');
  busy = 1;
  await storage.removeVolume(A, 'v');
  expect(done).toEqual(['wiped', 'removed']);
  fake.on(STORAGE.info, () => ({ state: 0, capacity: 0n, allocation: 0n, available: 0n }));
  busy = 1;
  await expect(storage.wipeVolume(A, 'v')).rejects.toMatchObject({ reason: 'BAD_STATE' });
});

it('waits until Ceph has closed a volume that a killed reader had open, whatever libvirt calls that', async () => {
  let tries = 0;
  const refused = (words: string) => () => {
    if (++tries < 3) throw new Refusal(38, words, 2);
  };
  fake.on(STORAGE.findVolume, () => ({ volume: { pool: 'a', name: 'v', key: 'vms/v' } }));
  fake.on(STORAGE.deleteVolume, refused("failed to remove volume 'vms/v': No such file or directory"));
  await storage.removeVolume(A, 'v');
  expect(tries).toBe(3);
  // of files it is what it says
  tries = 0;
  fake.on(STORAGE.deleteVolume, refused("cannot unlink file '/kvm/a/v': No such file or directory"));
  await expect(storage.removeVolume(A, 'v')).rejects.toThrow('cannot unlink');
  expect(tries).toBe(1);
});

it('gives a secret to libvirt as bytes, and never as text', async () => {
  const values: Buffer[] = [];
  let text = '';
  fake.on(STORAGE.defineSecret, ({ xml: x }) => {
    text = x;
    return { secret: { uuid: B, usageType: 3, usageId: 'pool a' } };
  });
  fake.on(STORAGE.setSecretValue, ({ value }) => void values.push(value));
  await storage.setSecret({ uuid: B, name: 'pool a', usage: 'iscsi', value: Buffer.from('hush') });
  expect(values.map(String)).toEqual(['hush']);
  expect(text).not.toContain('hush');
});

it('keeps no connection to a pool that somebody has removed', async () => {
  fake.on(STORAGE.listPools, () => ({ pools: [{ uuid: B, name: 'b' }] }));
  await storage.look(A);
  await storage.look(B);
  expect(fake.clients.size).toBe(2);
  await storage.list();
  // the list has one of its own
  await expect.poll(() => fake.clients.size, { timeout: 10_000 }).toBe(2);
  await storage.look(B);
  expect(fake.clients.size).toBe(2);
});

it('says that a file is safe when all of it is, and not when a part is missing', async () => {
  const path = join(fake.dir, 'image');
  await writeFile(path, 'four');
  await storage.sync(path, 4);
  await expect(storage.sync(path, 5)).rejects.toThrow('has got 4 of 5 bytes');
});
