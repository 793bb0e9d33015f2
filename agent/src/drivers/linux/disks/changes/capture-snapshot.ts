/**
 * Copies of what volumes held in a snapshot, which become images: by a confined qemu-img, also of a disk in use. Nobody writes to
 * what a snapshot has, so it does not matter what the guest does; the caller sees to it that the snapshot stays.
 */
import { chown, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { LongWork } from '../../../disks.ts';
import type { PoolFile } from '../../../volume-work.ts';
import { tellingFull } from '../files.ts';
import { requireRoom } from '../space.ts';
import type { ExportVolumeParts } from './export-volume.ts';
import { lendTo, ownFile, type ReadFile } from './own-file.ts';
import { checkPoolFile, withPoolFile } from './pool-file.ts';
import type { ServeParts } from './served.ts';
import { mostBytes, sourceOf, tell } from './write-anew.ts';

type Parts = Pick<ExportVolumeParts, 'pool' | 'exec' | 'uploads'>;

interface Held {
  readonly volumeId: string;
  readonly snapshot: string;
  readonly file: ReadFile;
  /** @param fn gets QEMU's words for the disk, which a confined program can read for as long as it runs */
  readonly lent: (fn: (source: string) => Promise<void>) => Promise<void>;
}

const SLACK_BYTES = 64 * 2 ** 20;

/** The caller holds the volume's lock. Twice is once. */
export async function captureSnapshot(
  parts: Parts,
  uploadId: string,
  { volumeId, snapshot }: { readonly volumeId: string; readonly snapshot: string },
  work: LongWork,
): Promise<void> {
  if (await parts.uploads.has(uploadId)) return;
  const file = await ownFile(parts.pool, volumeId);
  const lent: Held['lent'] = (fn) => lendTo(parts.exec, 'read', file.path, () => fn(sourceOf(file)));
  await copyOut(parts, uploadId, { volumeId, snapshot, file, lent }, work);
}

/** The same of a file in a pool. */
export async function capturePoolSnapshot(
  parts: Parts & ServeParts,
  uploadId: string,
  { file, snapshot }: { readonly file: PoolFile; readonly snapshot: string },
  work: LongWork,
): Promise<void> {
  if (await parts.uploads.has(uploadId)) return;
  const { volumeId } = file;
  await checkPoolFile(file);
  const lent: Held['lent'] = (fn) =>
    withPoolFile(parts, { ...file, alsoInUse: true }, work.signal, (disk) => fn(disk.path));
  await copyOut(parts, uploadId, { volumeId, snapshot, file, lent }, work);
}

async function copyOut(
  { pool, exec, uploads }: Parts,
  uploadId: string,
  { volumeId, snapshot, file, lent }: Held,
  work: LongWork,
): Promise<void> {
  if (file.format !== 'qcow2') throw unsupported(`volume ${volumeId} is raw: there is no snapshot in it`);
  await requireRoom(pool.uploadsDir, await mostBytes(file, undefined), 'the copy of the disk');
  const dir = pool.stagingPath(`capture-${uploadId}`);
  const target = join(dir, 'disk');
  try {
    const { uid, gid } = await exec.sandboxUser();
    await rm(dir, { recursive: true, force: true });
    await mkdir(dir, { mode: 0o700 });
    await chown(dir, uid, gid);
    // -U: whoever runs with the disk keeps its lock
    const args = ['convert', '-p', '-U', '-l', `snapshot.name=${snapshot}`, '-O', 'qcow2'];
    await tellingFull('the copy of the disk', pool.stagingDir, () =>
      lent((source) =>
        exec
          .runConfined('qemu-img', [...args, source, target], {
            ...{ signal: work.signal, timeoutMs: 0, what: `copying snapshot ${snapshot} of disk ${volumeId}` },
            onOutput: (text) => tell(text, file.sizeBytes, work),
            limits: { fileBytes: Math.ceil(file.sizeBytes * (65 / 64)) + SLACK_BYTES },
          })
          .then(() => undefined),
      ),
    );
    await uploads.take(uploadId, target, { format: 'qcow2' });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
