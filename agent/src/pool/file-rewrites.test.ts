/** Volumes in pools of files written anew, over simulated storage: at any moment the old file or the new one is the volume, and no other is left. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readOwnQcow2 } from '@berth/shared/disk/inspect.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { LongWork } from '../drivers/disks.ts';
import type { Storage } from '../drivers/storage.ts';
import type { RewriteSpec } from '../drivers/volume-work.ts';
import { refuseMoving } from '../volume/moves.ts';
import { DIGEST, PoolHosts, spec, type PoolHost } from '../testing/pool-host.ts';
import { poolUuid } from './pool-spec.ts';

const MIB = 2 ** 20;
const UUID = poolUuid('pool-1');
const work: LongWork = { signal: new AbortController().signal, onProgress: () => undefined };
const volume = { volumeId: 'volume-1', vmId: '', imageDigest: undefined, sizeBytes: 64 * MIB, poolId: 'pool-1' };
const qcow2: RewriteSpec = { format: 'qcow2', imageDigest: undefined, ifOther: false };
const raw: RewriteSpec = { ...qcow2, format: 'raw' };
const MARK = 'berth.pool-1.host-h1.mark';

const hosts = new PoolHosts();
let h: PoolHost;
beforeEach(async () => {
  h = await hosts.host('h1');
  h.drivers.sim.images.set(DIGEST, { digest: DIGEST, virtualSizeBytes: 8 * MIB, fileBytes: 1_000 });
  await h.ensure(spec());
  await h.parts.disks.ensureVolume(volume);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await hosts.close();
});
const disks = () => h.parts.disks;
const rewrite = (wanted: RewriteSpec, how = work, mayReplace?: () => Promise<void>) =>
  disks().work.rewrite('volume-1', wanted, how, mayReplace);
const shrink = (sizeBytes: number, how = { shrink: true }) => disks().work.resize('volume-1', sizeBytes, how, work);
const files = (): readonly string[] => h.files().filter((f) => f !== MARK);
const seen = () => disks().findVolume('volume-1');
/** As its header says. */
const sizeIn = async (name: string): Promise<number> => {
  const file = await h.drivers.storage.read(UUID, name);
  for await (const piece of file.pieces(work.signal))
    if (typeof piece !== 'number') {
      const read = async (at: number, n: number) => piece.subarray(at, at + n);
      return (await readOwnQcow2({ name, sizeBytes: piece.length, read })).virtualSizeBytes;
    }
  return 0;
};
const fails = (method: keyof Storage, reason = 'HOST_UNREACHABLE') =>
  vi.spyOn(h.drivers.storage, method as 'write').mockRejectedValueOnce(new ClusterError(reason as never, 'it ends'));

describe('a volume in a pool of files', () => {
  it('becomes of the other format and back, and smaller; twice is once', async () => {
    for (const _ of [1, 2]) await rewrite({ ...raw, ifOther: true });
    expect([files(), await seen()]).toMatchObject([['volume-1.raw'], { format: 'raw', sizeBytes: 64 * MIB }]);
    await rewrite(qcow2);
    expect(files()).toEqual(['volume-1.qcow2']);
    await shrink(32 * MIB);
    expect([files(), await seen()]).toMatchObject([['volume-1.qcow2'], { sizeBytes: 32 * MIB }]);
    expect(await sizeIn('volume-1.qcow2')).toBe(32 * MIB);
    expect((await seen())?.format).toBeUndefined();
    await disks().ensureVolume({ ...volume, sizeBytes: 32 * MIB });
    await disks().removeVolume('volume-1');
    expect(files()).toEqual([]);
  });

  it('is told by its former file as well, which a definition may name until its guest starts', async () => {
    const paths = () => (['qcow2', 'raw', undefined] as const).map((f) => disks().volumePath('volume-1', false, f));
    const [old, other] = ['/kvm/fast/volume-1.qcow2', '/kvm/fast/volume-1.raw'];
    expect(paths()).toEqual([old, other, old]);
    await rewrite(raw);
    expect(paths()).toEqual([old, other, other]);
  });

  it('stays on its image, or gets what is in it; and on no other', async () => {
    await disks().removeVolume('volume-1');
    await disks().ensureVolume({ ...volume, imageDigest: DIGEST });
    const asked = vi.spyOn(h.drivers.disks.blocks, 'rewriteFile');
    await rewrite({ ...qcow2, imageDigest: DIGEST });
    const base = h.drivers.disks.imagePath(DIGEST);
    const file = { path: '/kvm/fast/volume-1.qcow2', format: 'qcow2', backing: base };
    expect(asked).toHaveBeenCalledWith(expect.objectContaining(file), { format: 'qcow2', base }, expect.anything());
    expect(await seen()).toMatchObject({ imageDigest: DIGEST });
    const other = `sha256:${'cd'.repeat(32)}`;
    await expect(rewrite({ ...qcow2, imageDigest: other })).rejects.toThrow('on no other');
    await expect(rewrite({ ...raw, imageDigest: DIGEST })).rejects.toThrow('cannot be raw');
    await expect(shrink(4 * MIB)).rejects.toThrow('the image below it has 8 MiB');
    await rewrite(raw);
    expect((await seen())?.imageDigest).toBeUndefined();
    expect(asked).toHaveBeenCalledTimes(2);
  });

  it('is not kept as others want it, and not made smaller by mistake', async () => {
    await expect(rewrite({ ...raw, format: 'vmdk' })).rejects.toMatchObject({ reason: 'UNSUPPORTED' });
    await expect(shrink(32 * MIB, { shrink: false })).rejects.toThrow('--shrink');
    expect(files()).toEqual(['volume-1.qcow2']);
  });

  it.each(['createVolume', 'write', 'replaceVolume'] as const)(
    'is the old one when %s fails, and the new one when it is asked again',
    async (method) => {
      for (const wanted of [raw, qcow2]) {
        const before = [files(), await seen()];
        fails(method, 'DISK_FULL');
        await expect(rewrite(wanted)).rejects.toThrow('it ends');
        expect([files(), await seen()]).toEqual(before);
        await rewrite(wanted);
        expect(files()).toEqual([`volume-1.${wanted.format}`]);
      }
    },
  );

  it('takes no room that is not there, and none of what a cancel leaves', async () => {
    h.drivers.storage.folders.otherBytes = h.drivers.storage.folders.capacityBytes - 250_000;
    await expect(rewrite(qcow2)).rejects.toMatchObject({ reason: 'DISK_FULL' });
    expect(files()).toEqual(['volume-1.qcow2']);
    h.drivers.storage.folders.otherBytes = 0;
    const cancel = new AbortController();
    vi.spyOn(h.drivers.storage, 'write').mockImplementationOnce(async () => cancel.abort(new Error('cancelled')));
    await expect(rewrite(raw, { ...work, signal: cancel.signal })).rejects.toThrow('cancelled');
    expect(files()).toEqual(['volume-1.qcow2']);
  });

  it('stays as it is when somebody has it by then, its pool is silent, or what is mounted is other storage', async () => {
    const used = () => Promise.reject(new ClusterError('IN_USE', 'its guest runs'));
    await expect(rewrite(raw, work, used)).rejects.toThrow('its guest runs');
    expect(files()).toEqual(['volume-1.qcow2']);
    h.drivers.storage.silent.add(UUID);
    await expect(rewrite(raw)).rejects.toMatchObject({ reason: 'STORAGE_UNAVAILABLE' });
    h.drivers.storage.silent.clear();
    await h.drivers.storage.removeVolume(UUID, MARK);
    const create = vi.spyOn(h.drivers.storage, 'createVolume');
    await expect(rewrite(raw)).rejects.toThrow('bears no mark');
    await expect(shrink(32 * MIB)).rejects.toThrow('bears no mark');
    expect(create).not.toHaveBeenCalled();
  });
});

describe('an agent that is killed', () => {
  const steps = [
    ['createVolume', 'before'],
    ['createVolume', 'after'],
    ['write', 'after'],
    ['replaceVolume', 'before'],
    ['replaceVolume', 'after'],
  ] as const;

  it.each(steps)('at %s (%s) leaves the old file or the new one, and the next one no other', async (method, when) => {
    await h.killedAt(method, when, () => shrink(32 * MIB));
    await disks().work.settle('volume-1');
    expect(files()).toEqual(['volume-1.qcow2']);
    expect(await sizeIn('volume-1.qcow2')).toBe((await seen())?.sizeBytes);
    await h.killedAt(method, when, () => rewrite(raw));
    await disks().work.settle('volume-1');
    // it is not the new one before the record says so: its guest may have been started with the old one
    expect([files(), await seen()]).toMatchObject([['volume-1.qcow2'], { volumeId: 'volume-1' }]);
    await rewrite(raw);
    expect([files(), await seen()]).toMatchObject([['volume-1.raw'], { format: 'raw' }]);
  });

  it('when the new file is there, but not on record, leaves a volume that starts no guest before that is settled', async () => {
    await disks().work.assign('volume-1', { from: '', to: 'vm-1' });
    const mayStart = () => refuseMoving({ disks: disks(), places: disks().places }, { name: 'web', vmId: 'vm-1' });
    await mayStart();
    await h.killedAt('replaceVolume', 'after', () => shrink(32 * MIB));
    await expect(mayStart()).rejects.toThrow(/being written anew.*berth volume sparsify/);
    await disks().work.settle('volume-1');
    await mayStart();
  });

  it('before the former file goes leaves that to the next one', async () => {
    await h.killedAt('removeVolume', 'before', async () => {
      await h.drivers.storage.refresh(UUID);
      await rewrite(raw);
    });
    // the first removal is of what another try may have left
    await disks().work.settle('volume-1');
    expect(files()).toEqual(['volume-1.qcow2']);
    const remove = h.drivers.storage.removeVolume.bind(h.drivers.storage);
    vi.spyOn(h.drivers.storage, 'removeVolume').mockImplementation(async (uuid, name) => {
      if (name === 'volume-1.qcow2') throw new ClusterError('HOST_UNREACHABLE', 'the agent ends');
      await remove(uuid, name);
    });
    await expect(rewrite(raw)).rejects.toThrow('the agent ends');
    vi.restoreAllMocks();
    await h.open();
    expect([files(), await seen()]).toMatchObject([['volume-1.qcow2', 'volume-1.raw'], { format: 'raw' }]);
    await disks().ensureVolume({ ...volume, format: 'raw' });
    expect(files()).toEqual(['volume-1.raw']);
  });

  it('leaves nothing behind when the volume goes', async () => {
    await h.killedAt('write', 'after', () => rewrite(raw));
    expect(files()).toEqual(['volume-1.new', 'volume-1.qcow2']);
    await disks().removeVolume('volume-1');
    expect([files(), h.parts.store.volumes()]).toEqual([[], []]);
  });
});
