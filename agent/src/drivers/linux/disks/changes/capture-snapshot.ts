/**
 * Copies of what volumes held in a snapshot, which become images: by a confined qemu-img, also of a disk in use. Nobody writes to
 * what a snapshot has, so it does not matter what the guest does; the caller sees to it that the snapshot stays.
 */
import { chown, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { LongWork } from '../../../disks.ts';
import { tellingFull } from '../files.ts';
import { requireRoom } from '../space.ts';
import type { ExportVolumeParts } from './export-volume.ts';
import { lendTo, ownFile } from './own-file.ts';
import { mostBytes, sourceOf, tell } from './write-anew.ts';

const SLACK_BYTES = 64 * 2 ** 20;

/** The caller holds the volume's lock. Twice is once. */
export async function captureSnapshot(
  { pool, exec, uploads }: Pick<ExportVolumeParts, 'pool' | 'exec' | 'uploads'>,
  uploadId: string,
  { volumeId, snapshot }: { readonly volumeId: string; readonly snapshot: string },
  work: LongWork,
): Promise<void> {
  if (await uploads.has(uploadId)) return;
  const file = await ownFile(pool, volumeId);
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
    const args = ['convert', '-p', '-U', '-l', `snapshot.name=${snapshot}`, '-O', 'qcow2', sourceOf(file), target];
    await tellingFull('the copy of the disk', pool.stagingDir, () =>
      lendTo(exec, 'read', file.path, () =>
        exec.runConfined('qemu-img', args, {
          ...{ signal: work.signal, timeoutMs: 0, what: `copying snapshot ${snapshot} of disk ${volumeId}` },
          onOutput: (text) => tell(text, file.sizeBytes, work),
          limits: { fileBytes: Math.ceil(file.sizeBytes * (65 / 64)) + SLACK_BYTES },
        }),
      ),
    );
    await uploads.take(uploadId, target, { format: 'qcow2' });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
