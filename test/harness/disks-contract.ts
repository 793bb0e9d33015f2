/**
 * What every Disks driver must do: the same cases for simulated disks and for real ones. What only real files can show
 * (conversion, modes, crashes, full file systems) is tested beside the real driver.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LongWork } from '@berth/agent/drivers/disks.ts';
import type { AllDisks } from '@berth/agent/drivers/volume-work.ts';
import { piecesOf } from '@berth/shared/disk/pieces.ts';
import { qcow2, rawDisk } from './disk-files.ts';

export interface DisksFixture {
  /** Two hosts' disks; the second is fetched to. */
  readonly disks: AllDisks;
  readonly other: AllDisks;
  dispose(): Promise<void>;
}

const MIB = 2 ** 20;
const ABSENT = `sha256:${'0'.repeat(64)}`;
const work: LongWork = { signal: new AbortController().signal, onProgress: () => undefined };

/** A disk of 9 MiB that differs by `mark`. */
function disk(mark: number): Buffer {
  const bytes = rawDisk(9 * MIB);
  bytes.fill(mark, 5 * MIB, 5 * MIB + 4_096);
  return bytes;
}

async function upload(disks: AllDisks, id: string, bytes: Buffer): Promise<void> {
  const sink = await disks.openUpload(id, bytes.length);
  for (let at = 0; at < bytes.length; at += MIB) await sink.write(bytes.subarray(at, at + MIB));
  await sink.finish();
}

async function uploaded(disks: AllDisks, id: string, bytes: Buffer): Promise<string> {
  await upload(disks, id, bytes);
  return id;
}

async function imported(disks: AllDisks, mark = 1): Promise<string> {
  await upload(disks, `u${mark}`, disk(mark));
  return (await disks.importImage(`u${mark}`, '', work)).digest;
}

type Shared = { readonly disks: AllDisks; readonly other: AllDisks };

/** Registers the cases that hold for every driver. */
export function disksContract(name: string, make: () => Promise<DisksFixture>): void {
  describe(`${name} as disks`, () => {
    const s = {} as { disks: AllDisks; other: AllDisks };
    let fixture: DisksFixture;
    beforeEach(async () => {
      fixture = await make();
      Object.assign(s, { disks: fixture.disks, other: fixture.other });
    });
    afterEach(() => fixture.dispose());
    uploads(s);
    imports(s);
    volumes(s);
    seeds(s);
    volumeWork(s);
    rewrites(s);
    transfers(s);
    captures(s);
  });
}

function uploads(s: Shared): void {
  it('takes an upload of exactly the announced size', async () => {
    const short = await s.disks.openUpload('u', 10);
    await short.write(Buffer.alloc(4));
    await expect(short.finish()).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    await short.abort();
    const long = await s.disks.openUpload('u', 10);
    await expect(long.write(Buffer.alloc(11))).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    await long.abort();
    expect(await s.disks.hasUpload('u')).toBe(false);
  });

  it('refuses an upload that cannot fit, has no size, or has a path for a name', async () => {
    await expect(s.disks.openUpload('u', 2 ** 52)).rejects.toMatchObject({ reason: 'DISK_FULL' });
    await expect(s.disks.openUpload('u', -1)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    await expect(s.disks.openUpload('../u', 1)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  });

  it('takes runs of zeros as counts, and sees the same file as if they had been sent', async () => {
    const plain = await s.disks.importImage(await uploaded(s.disks, 'plain', disk(3)), '', work);
    const sink = await s.disks.openUpload('holes', 9 * MIB);
    for (const piece of piecesOf(disk(3))) await (typeof piece === 'number' ? sink.skip(piece) : sink.write(piece));
    await sink.finish();
    const holes = await s.disks.importImage('holes', '', work);
    expect(holes).toEqual(plain);
    const long = await s.disks.openUpload('u', 10);
    await expect(long.skip(11)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    await long.abort();
    const short = await s.disks.openUpload('u', 10);
    await short.skip(9);
    await expect(short.finish()).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    await short.abort();
    expect(await s.disks.hasUpload('u')).toBe(false);
  });

  it('keeps an upload apart from an earlier try that broke off', async () => {
    const lost = await s.disks.openUpload('u', 4);
    await lost.write(Buffer.from('xx'));
    await upload(s.disks, 'u', Buffer.from('good'));
    await lost.abort();
    expect(await s.disks.hasUpload('u')).toBe(true);
    await s.disks.removeUpload('u');
    await s.disks.removeUpload('u');
    expect(await s.disks.hasUpload('u')).toBe(false);
  });
}

function imports(s: Shared): void {
  it('imports the same disk twice as one image, and the same upload too, which stays until it is removed', async () => {
    const digest = await imported(s.disks);
    await upload(s.disks, 'again', disk(1));
    const again = await s.disks.importImage('again', '', work);
    expect(again).toMatchObject({ digest, virtualSizeBytes: 9 * MIB });
    expect(again.sourceDigest).toMatch(/^[0-9a-f]{64}$/);
    expect(await s.disks.importImage('again', '', work)).toEqual(again);
    expect((await s.disks.listImages()).map((i) => i.digest)).toEqual([digest]);
    expect(await s.disks.hasUpload('again')).toBe(true);
    expect(await imported(s.disks, 2)).not.toBe(digest);
  });

  const evil: Record<string, Buffer> = {
    'nothing but text': Buffer.from('Buy milk.\n'.repeat(100)),
    'nothing at all': Buffer.alloc(0),
    'a backing file': qcow2({ backingFile: '/etc/shadow' }),
    'a virtual size of a petabyte': qcow2({ virtualSizeBytes: 2n ** 50n, clusterBits: 21 }),
    'a header that is cut off': qcow2().subarray(0, 60),
    encryption: qcow2({ encryption: 2 }),
    'a feature nobody knows': qcow2({ incompatibleFeatures: 1n << 40n }),
  };
  for (const [what, bytes] of Object.entries(evil))
    it(`refuses a file with ${what} as unsafe, and keeps no image`, async () => {
      await upload(s.disks, 'u', bytes);
      await expect(s.disks.importImage('u', '', work)).rejects.toMatchObject({ reason: 'UNSAFE_IMAGE' });
      expect(await s.disks.listImages()).toEqual([]);
    });

  it('takes raw bytes without a partition table only when told so', async () => {
    await upload(s.disks, 'u', Buffer.alloc(MIB, 'x\0'));
    await expect(s.disks.importImage('u', '', work)).rejects.toMatchObject({ reason: 'UNSAFE_IMAGE' });
    expect(await s.disks.importImage('u', 'raw', work)).toMatchObject({ virtualSizeBytes: MIB });
  });

  it('cannot import what was not uploaded, nor a format that it does not know', async () => {
    await expect(s.disks.importImage('nothing', '', work)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
    await upload(s.disks, 'u', disk(1));
    await expect(s.disks.importImage('u', 'iso', work)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  });

  it('tells of the image that it has installed, also to who cancels', async () => {
    const digest = await imported(s.disks);
    const cancelled = { signal: AbortSignal.abort(), onProgress: () => undefined };
    expect(await s.disks.importImage('u1', '', cancelled)).toMatchObject({ digest });
  });

  it('ends a cancelled import and keeps the upload', async () => {
    await upload(s.disks, 'u', disk(1));
    const stop = new AbortController();
    const cancelled = s.disks.importImage('u', '', { signal: stop.signal, onProgress: () => stop.abort() });
    await expect(cancelled).rejects.toMatchObject({ reason: 'CANCELLED' });
    expect(await s.disks.listImages()).toEqual([]);
    expect(await s.disks.hasUpload('u')).toBe(true);
  });
}

function volumes(s: Shared): void {
  const blank = { volumeId: 'volume-1', vmId: 'vm-1', imageDigest: undefined, sizeBytes: 20 * MIB };

  it('makes a volume once, however often it is asked', async () => {
    const spec = { ...blank, imageDigest: await imported(s.disks) };
    await Promise.all([s.disks.ensureVolume(spec), s.disks.ensureVolume(spec)]);
    await s.disks.ensureVolume(spec);
    expect(await s.disks.listVolumes()).toMatchObject([{ ...spec, seed: false }]);
  });

  it('makes a blank volume raw, lists it as such, and refuses another format or an image below it', async () => {
    const raw = { ...blank, format: 'raw' as const };
    await Promise.all([s.disks.ensureVolume(raw), s.disks.ensureVolume(raw)]);
    expect(await s.disks.listVolumes()).toMatchObject([raw]);
    expect(s.disks.volumePath('volume-1', false, 'raw')).not.toBe(s.disks.volumePath('volume-1', false));
    await expect(s.disks.ensureVolume(blank)).rejects.toMatchObject({ reason: 'ALREADY_EXISTS' });
    const below = { ...raw, volumeId: 'volume-2', imageDigest: await imported(s.disks) };
    await expect(s.disks.ensureVolume(below)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    await s.disks.removeVolume('volume-1');
    expect(await s.disks.listVolumes()).toEqual([]);
  });

  it('finds one volume as it lists it, and none that is not there', async () => {
    const imageDigest = await imported(s.disks);
    const ids = ['v-1', 'v-2', 'v-3', 'v-4'];
    await Promise.all(ids.map((volumeId) => s.disks.ensureVolume({ ...blank, volumeId, imageDigest })));
    const all = await s.disks.listVolumes();
    expect(all.map((v) => v.volumeId).sort()).toEqual(ids);
    for (const v of all) expect(await s.disks.findVolume(v.volumeId)).toEqual(v);
    expect(await s.disks.findVolume('v-5')).toBeUndefined();
    await expect(s.disks.findVolume('../v')).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  });

  it('refuses another size, image or owner for a volume that exists', async () => {
    const spec = { ...blank, imageDigest: await imported(s.disks) };
    const second = await imported(s.disks, 2);
    await s.disks.ensureVolume(spec);
    for (const change of [
      { sizeBytes: 21 * MIB },
      { vmId: 'vm-2' },
      { imageDigest: second },
      { imageDigest: undefined },
    ])
      await expect(s.disks.ensureVolume({ ...spec, ...change })).rejects.toMatchObject({ reason: 'ALREADY_EXISTS' });
    expect(await s.disks.listVolumes()).toMatchObject([spec]);
  });

  it('refuses a volume on a missing image, smaller than its image, or of an absurd size, and leaves nothing', async () => {
    const imageDigest = await imported(s.disks);
    const bad = { reason: 'INVALID_ARGUMENT' };
    await expect(s.disks.ensureVolume({ ...blank, imageDigest: ABSENT })).rejects.toMatchObject({
      reason: 'NOT_FOUND',
    });
    await expect(s.disks.ensureVolume({ ...blank, imageDigest, sizeBytes: MIB })).rejects.toMatchObject(bad);
    for (const sizeBytes of [-1, 0, 1_000, 2 ** 52, Number.NaN])
      await expect(s.disks.ensureVolume({ ...blank, sizeBytes })).rejects.toMatchObject(bad);
    for (const volumeId of ['../v', 'a/b', '', '.hidden'])
      await expect(s.disks.ensureVolume({ ...blank, volumeId })).rejects.toMatchObject(bad);
    expect(await s.disks.listVolumes()).toEqual([]);
  });

  it('keeps an image while a volume is based on it, and does not mind removing what is gone', async () => {
    const imageDigest = await imported(s.disks);
    await s.disks.ensureVolume({ ...blank, imageDigest });
    await expect(s.disks.removeImage(imageDigest)).rejects.toMatchObject({ reason: 'IN_USE' });
    await s.disks.removeVolume(blank.volumeId);
    await s.disks.removeVolume(blank.volumeId);
    await s.disks.removeImage(imageDigest);
    await s.disks.removeImage(imageDigest);
    expect(await s.disks.listVolumes()).toEqual([]);
    expect(await s.disks.listImages()).toEqual([]);
  });
}

function volumeWork(s: Shared): void {
  const usual = { preallocation: 'off', clusterBytes: 65_536, lazyRefcounts: false } as const;
  const spec = { volumeId: 'volume-1', vmId: '', imageDigest: undefined, sizeBytes: 20 * MIB, ...usual };

  it('makes a volume of nobody once, gives it to a vm and takes it back, and to nobody else', async () => {
    await Promise.all([s.disks.work.make(spec, work), s.disks.work.make(spec, work)]);
    expect(await s.disks.findVolume('volume-1')).toMatchObject({ vmId: '', sizeBytes: 20 * MIB });
    for (const to of ['vm-1', 'vm-1']) await s.disks.work.assign('volume-1', { from: '', to });
    expect(await s.disks.findVolume('volume-1')).toMatchObject({ vmId: 'vm-1' });
    const stolen = s.disks.work.assign('volume-1', { from: '', to: 'vm-2' });
    await expect(stolen).rejects.toMatchObject({ reason: 'BAD_STATE' });
    await s.disks.work.assign('volume-1', { from: 'vm-1', to: '' });
    expect(await s.disks.findVolume('volume-1')).toMatchObject({ vmId: '' });
    const absent = s.disks.work.assign('volume-2', { from: '', to: 'vm-1' });
    await expect(absent).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  it('resizes a volume, down only when that is said, and refuses sizes that cannot be', async () => {
    await s.disks.work.make(spec, work);
    const resize = (bytes: number, shrink = false) => s.disks.work.resize('volume-1', bytes, { shrink }, work);
    await resize(40 * MIB);
    await resize(40 * MIB);
    expect(await s.disks.findVolume('volume-1')).toMatchObject({ sizeBytes: 40 * MIB });
    await expect(resize(20 * MIB)).rejects.toMatchObject({ reason: 'BAD_STATE' });
    await resize(20 * MIB, true);
    for (const bytes of [0, -512, 1000, 2 ** 52])
      await expect(resize(bytes)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    expect(await s.disks.findVolume('volume-1')).toMatchObject({ sizeBytes: 20 * MIB });
    await s.disks.ensureVolume({ volumeId: 'volume-1', vmId: '', imageDigest: undefined, sizeBytes: 20 * MIB });
  });
}

function rewrites(s: Shared): void {
  const usual = { preallocation: 'off', clusterBytes: 65_536, lazyRefcounts: false } as const;
  const spec = { volumeId: 'volume-1', vmId: '', imageDigest: undefined, sizeBytes: 20 * MIB, ...usual };

  it('writes a volume anew in either format, with and without its image, and wipes it', async () => {
    const imageDigest = await imported(s.disks);
    await s.disks.work.make({ ...spec, imageDigest }, work);
    const found = () => s.disks.findVolume('volume-1');
    const rewrite = (format: 'qcow2' | 'raw', base?: string, ifOther = false) =>
      s.disks.work.rewrite('volume-1', { format, imageDigest: base, ifOther }, work);
    for (const [format, base] of [
      ['qcow2', imageDigest],
      ['raw', undefined],
      ['raw', undefined],
      ['qcow2', undefined],
      ['raw', undefined],
      ['qcow2', imageDigest],
    ] as const) {
      await rewrite(format, base);
      await rewrite(format, base, true);
      expect(await found()).toMatchObject({ sizeBytes: 20 * MIB });
      expect([(await found())?.format ?? 'qcow2', (await found())?.imageDigest]).toEqual([format, base]);
    }
    await expect(rewrite('qcow2')).rejects.toMatchObject({ reason: 'BAD_STATE' });
    await s.disks.work.wipe('volume-1', work);
    expect(await found()).toMatchObject({ sizeBytes: 20 * MIB, vmId: '' });
    const absent = { reason: 'NOT_FOUND' };
    await expect(
      s.disks.work.rewrite('volume-2', { format: 'raw', imageDigest: undefined, ifOther: false }, work),
    ).rejects.toMatchObject(absent);
    await expect(s.disks.work.wipe('volume-2', work)).rejects.toMatchObject(absent);
  });
}

function seeds(s: Shared): void {
  const spec = { volumeId: 'seed-1', vmId: 'vm-1', files: { 'meta-data': 'instance-id: vm-1\n' } };

  it('makes a seed once, and refuses another content or owner under its name', async () => {
    await s.disks.ensureSeed(spec);
    await s.disks.ensureSeed(spec);
    const taken = { reason: 'ALREADY_EXISTS' };
    await expect(s.disks.ensureSeed({ ...spec, files: { 'meta-data': 'x' } })).rejects.toMatchObject(taken);
    await expect(s.disks.ensureSeed({ ...spec, vmId: 'vm-2' })).rejects.toMatchObject(taken);
    expect(await s.disks.listVolumes()).toMatchObject([{ volumeId: 'seed-1', vmId: 'vm-1', seed: true }]);
    await s.disks.removeVolume('seed-1');
    expect(await s.disks.listVolumes()).toEqual([]);
  });

  it('has an empty log for a VM that never ran', async () => {
    expect(await s.disks.readSerialLog('vm-1', { lastBytes: 100 }, 100)).toMatchObject({ position: '', gap: false });
    await s.disks.removeSerialLog('vm-1');
  });
}

function transfers(s: Shared): void {
  it('serves an image once, to a host that fetches it once', async () => {
    const digest = await imported(s.disks);
    const [socket, same] = await Promise.all([s.disks.serveImage(digest), s.disks.serveImage(digest)]);
    expect(same).toBe(socket);
    const image = { digest, virtualSizeBytes: 9 * MIB };
    expect(await s.other.fetchImage(image, socket, work)).toMatchObject(image);
    expect(await s.other.fetchImage(image, '/nowhere', work)).toMatchObject(image);
    expect(await s.other.listImages()).toMatchObject([image]);
    await s.other.dropFetch(digest);
  });

  it('does not serve what is not there', async () => {
    await expect(s.disks.serveImage(ABSENT)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  it('throws away what arrives under the wrong digest', async () => {
    const socket = await s.disks.serveImage(await imported(s.disks));
    const wrong = s.other.fetchImage({ digest: ABSENT, virtualSizeBytes: 9 * MIB }, socket, work);
    await expect(wrong).rejects.toMatchObject({ reason: 'DIGEST_MISMATCH' });
    expect(await s.other.listImages()).toEqual([]);
  });
}

function captures(s: Shared): void {
  const spec = { volumeId: 'volume-a', vmId: 'vm-a', imageDigest: undefined, sizeBytes: 16 * MIB };

  it('captures a volume into an upload, which becomes an image of its size; twice is once', async () => {
    await s.disks.ensureVolume(spec);
    await s.disks.captureVolume('job-1.copy.vda', 'volume-a', work);
    await s.disks.captureVolume('job-1.copy.vda', 'volume-a', work);
    expect(await s.disks.hasUpload('job-1.copy.vda')).toBe(true);
    const image = await s.disks.importImage('job-1.copy.vda', 'qcow2', work);
    expect(image).toMatchObject({ virtualSizeBytes: 16 * MIB });
    expect(await s.disks.findVolume('volume-a')).toMatchObject({ sizeBytes: 16 * MIB });
    await s.disks.removeUpload('job-1.copy.vda');
    expect(await s.disks.hasUpload('job-1.copy.vda')).toBe(false);
  });

  it('captures nothing of a volume that is not there, and takes no copy that was not written', async () => {
    await expect(s.disks.captureVolume('u', 'volume-b', work)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
    await expect(s.disks.captureDone('u')).rejects.toMatchObject({ reason: 'NOT_FOUND' });
    expect(await s.disks.hasUpload('u')).toBe(false);
  });

  it('takes what was written to the file it gave out, and forgets one that is given up', async () => {
    await s.disks.captureTarget('job-2.copy.vda', 8 * MIB);
    expect(await s.disks.hasUpload('job-2.copy.vda')).toBe(false);
    await s.disks.captureDone('job-2.copy.vda');
    expect(await s.disks.importImage('job-2.copy.vda', 'qcow2', work)).toMatchObject({ virtualSizeBytes: 8 * MIB });
    await s.disks.captureTarget('job-3.copy.vda', 8 * MIB);
    await s.disks.removeUpload('job-3.copy.vda');
    expect(await s.disks.hasUpload('job-3.copy.vda')).toBe(false);
  });
}
