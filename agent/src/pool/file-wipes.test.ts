/** Volumes in pools of files overwritten, over simulated storage: what they held is gone, holes stay holes, and at any moment the volume is whole. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { bytesOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { LongWork } from '../drivers/disks.ts';
import type { Storage } from '../drivers/storage.ts';
import { refuseMoving } from '../volume/moves.ts';
import { DIGEST, PoolHosts, spec, type PoolHost } from '../testing/pool-host.ts';
import { runsOf } from './file-wipes.ts';
import { poolUuid } from './pool-spec.ts';

const MIB = 2 ** 20;
const UUID = poolUuid('pool-1');
const MARK = 'berth.pool-1.host-h1.mark';
const work: LongWork = { signal: new AbortController().signal, onProgress: () => undefined };
const volume = { volumeId: 'volume-1', vmId: '', imageDigest: DIGEST, sizeBytes: 64 * MIB, poolId: 'pool-1' };

const hosts = new PoolHosts();
let h: PoolHost;
beforeEach(async () => {
  h = await hosts.host('h1');
  h.drivers.sim.images.set(DIGEST, { digest: DIGEST, virtualSizeBytes: 8 * MIB, fileBytes: 1_000 });
  await h.ensure(spec());
  await h.parts.disks.ensureVolume(volume);
  await writeSecret('volume-1.qcow2');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await hosts.close();
});
const disks = () => h.parts.disks;
const wipe = (how = work) => disks().work.wipe('volume-1', how);
const files = (): readonly string[] => h.files().filter((f) => f !== MARK);

/** As a guest leaves it: beside the tables of its file, with holes between. */
async function writeSecret(name: string): Promise<void> {
  const { storage } = h.drivers;
  const pieces: Piece[] = [];
  for await (const p of (await storage.read(UUID, name)).pieces(work.signal)) pieces.push(p);
  const all: readonly Piece[] = [
    ...pieces,
    4 * MIB,
    Buffer.from('secret '.repeat(20_000)),
    8 * MIB,
    Buffer.from('secret'),
  ];
  const bytes = all.reduce<number>((n, p) => n + (typeof p === 'number' ? p : p.length), 0);
  await storage.write(
    UUID,
    name,
    (async function* () {
      yield* all;
    })(),
    bytes,
  );
}
async function textOf(name: string): Promise<string> {
  const all: Uint8Array[] = [];
  for await (const b of bytesOf((await h.drivers.storage.read(UUID, name)).pieces(work.signal))) all.push(b);
  return Buffer.concat(all).toString('latin1');
}
/** What is removed says what it held at that moment. */
function removals(): Map<string, string> {
  const { storage } = h.drivers;
  const held = new Map<string, string>();
  const remove = storage.removeVolume.bind(storage);
  vi.spyOn(storage, 'removeVolume').mockImplementation(async (uuid, name) => {
    if (await storage.hasVolume(uuid, name)) held.set(name, await textOf(name));
    await remove(uuid, name);
  });
  return held;
}
const record = () => h.parts.store.volume('volume-1');

describe('a volume in a pool of files that is wiped', () => {
  it('is its image again, and all that it held was overwritten on disk before its file went', async () => {
    const held = removals();
    const upload = vi.spyOn(h.drivers.storage, 'upload');
    const synced = vi.spyOn(h.drivers.storage, 'sync');
    await wipe();
    expect([files(), record()?.wiping]).toEqual([['volume-1.qcow2'], undefined]);
    expect(await disks().findVolume('volume-1')).toMatchObject({ imageDigest: DIGEST, sizeBytes: 64 * MIB });
    expect(await textOf('volume-1.qcow2')).toContain(h.drivers.disks.imagePath(DIGEST));
    expect(held.get('volume-1.wiping')).toMatch(/^\0+$/);
    // holes were left as they were
    expect(upload.mock.calls.reduce((n, [, , bytes]) => n + bytes, 0)).toBeLessThan(MIB);
    expect(synced.mock.calls.map(([path]) => path)).toEqual(['/kvm/fast/volume-1.qcow2', '/kvm/fast/volume-1.wiping']);
    await wipe();
    expect(files()).toEqual(['volume-1.qcow2']);
  });

  it('is what it was when a QEMU has it, it is not as Berth made it, or its pool is other storage', async () => {
    const before = await textOf('volume-1.qcow2');
    const free = vi.spyOn(h.drivers.disks.blocks, 'insistFree');
    free.mockRejectedValueOnce(new ClusterError('IN_USE', 'a QEMU has its file open'));
    await expect(wipe()).rejects.toThrow('a QEMU has its file open');
    await h.drivers.storage.removeVolume(UUID, MARK);
    await expect(wipe()).rejects.toThrow('bears no mark');
    await expect(wipe({ ...work, signal: AbortSignal.abort(new Error('cancelled')) })).rejects.toThrow('cancelled');
    expect([files(), record()?.wiping]).toEqual([['volume-1.qcow2'], undefined]);
    expect(await textOf('volume-1.qcow2')).toBe(before);
    expect(free).toHaveBeenCalledTimes(1);
  });

  it.each(['replaceVolume', 'createVolume'] as const)('is whole when %s fails', async (method) => {
    vi.spyOn(h.drivers.storage, method).mockRejectedValueOnce(new ClusterError('DISK_FULL', 'no room'));
    await expect(wipe()).rejects.toThrow('no room');
    expect(files()).toContain('volume-1.qcow2');
    expect(record()?.wiping).not.toBe('begun');
    const held = removals();
    await wipe();
    expect([files(), held.get('volume-1.wiping')]).toEqual([['volume-1.qcow2'], expect.stringMatching(/^\0+$/)]);
  });

  it('is blank when it was cancelled, and the next wipe ends what that one began; it does not move before', async () => {
    const cancel = new AbortController();
    const upload = h.drivers.storage.upload.bind(h.drivers.storage);
    vi.spyOn(h.drivers.storage, 'upload').mockImplementationOnce((...args) => {
      cancel.abort(new ClusterError('CANCELLED', 'cancelled'));
      return upload(...args);
    });
    await expect(wipe({ ...work, signal: cancel.signal })).rejects.toThrow();
    expect([files(), record()?.wiping]).toEqual([['volume-1.qcow2', 'volume-1.wiping'], 'blank']);
    expect(await textOf('volume-1.qcow2')).not.toContain('secret');
    await expect(disks().places.begin('volume-1', '')).rejects.toThrow(
      /Wipe it again \(berth volume wipe\), then move/,
    );
    await writeSecret('volume-1.qcow2');
    const held = removals();
    await wipe();
    expect([files(), await textOf('volume-1.qcow2')]).toEqual([
      ['volume-1.qcow2'],
      expect.not.stringContaining('secret'),
    ]);
    expect(held.get('volume-1.wiping')).toMatch(/^\0+$/);
    await disks().places.begin('volume-1', '');
  });
});

describe('an agent that is killed', () => {
  const steps = [
    ['replaceVolume', 'before'],
    ['replaceVolume', 'after'],
    ['createVolume', 'before'],
    ['createVolume', 'after'],
    ['upload', 'before'],
    ['upload', 'after'],
  ] as const satisfies readonly (readonly [keyof Storage, 'before' | 'after'])[];

  it.each(steps)(
    'at %s (%s) leaves a volume that starts no guest before it is whole, and the next one ends it',
    async (method, when) => {
      await disks().work.assign('volume-1', { from: '', to: 'vm-1' });
      const mayStart = () => refuseMoving({ disks: disks(), places: disks().places }, { name: 'web', vmId: 'vm-1' });
      await h.killedAt(method, when, () => wipe());
      if (method !== 'upload')
        await expect(mayStart()).rejects.toThrow(/or wiped, and that did not end.*berth volume sparsify, or wipe/);
      await disks().work.settle('volume-1');
      await mayStart();
      expect(files()).toContain('volume-1.qcow2');
      const held = removals();
      await wipe();
      expect([files(), held.get('volume-1.wiping')]).toEqual([['volume-1.qcow2'], expect.stringMatching(/^\0+$/)]);
    },
  );

  it('leaves nothing behind when the volume goes', async () => {
    await h.killedAt('upload', 'before', () => wipe());
    await disks().removeVolume('volume-1');
    expect([files(), h.parts.store.volumes()]).toEqual([[], []]);
  });
});

it('overwrites in runs: small holes with what is around them, large ones not', async () => {
  const runs = async (...pieces: Piece[]) => {
    const all = [];
    for await (const run of runsOf(pieces)) all.push([run.at, run.bytes]);
    return all;
  };
  const data = (bytes: number) => Buffer.alloc(bytes, 1);
  expect(await runs(5 * MIB)).toEqual([]);
  expect(await runs(4096, data(10), 65_536, data(20), 256 * 1024, data(1), 7)).toEqual([
    [4096, 65_566],
    [4096 + 65_566 + 256 * 1024, 1],
  ]);
  expect(await runs(...Array.from({ length: 130 }, () => data(MIB)))).toEqual([
    [0, 64 * MIB],
    [64 * MIB, 64 * MIB],
    [128 * MIB, 2 * MIB],
  ]);
});
