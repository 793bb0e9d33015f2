/**
 * Which volumes in a pool rest on a copy of an image there: those of other hosts too, which only the pool itself tells of. Of each
 * file that looks like a volume of ours the header is read, by our own parser; nothing is opened as a disk.
 */
import { basename } from 'node:path';
import { isQcow2 } from '@berth/shared/disk/qcow2-header.ts';
import { readOwnQcow2 } from '@berth/shared/disk/inspect.ts';
import { badState, chain, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { lengthOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { HEAD_BYTES, headOf } from '../drivers/carried.ts';
import type { Storage, StorageFile } from '../drivers/storage.ts';

const VOLUME = /^volume-[A-Za-z0-9-]+\.qcow2$/;

/** Name of the first that is found. @throws BAD_STATE when one cannot be read: then nobody knows */
export async function userOfPoolImage(
  storage: Pick<Storage, 'listVolumes' | 'read'>,
  uuid: string,
  imageFile: string,
): Promise<string | undefined> {
  const names = (await storage.listVolumes(uuid)).map((v) => v.name).filter((n) => VOLUME.test(n));
  for (const name of names) if ((await backingOf(storage, uuid, name)) === imageFile) return name;
  return undefined;
}

async function backingOf(storage: Pick<Storage, 'read'>, uuid: string, name: string): Promise<string | undefined> {
  try {
    const head = await readHead(await storage.read(uuid, name));
    // being written by somebody just now, or no disk of ours: it rests on nothing
    if (!isQcow2(head)) return undefined;
    const read = async (offset: number, length: number) => head.subarray(offset, offset + length);
    const { backingFile } = await readOwnQcow2({ name, sizeBytes: Number.MAX_SAFE_INTEGER, read });
    return backingFile && basename(backingFile);
  } catch (e) {
    if (isClusterError(e, 'NOT_FOUND')) return undefined; // it went meanwhile
    throw badState(`what volume ${name} in the pool is based on cannot be read: ${chain(e)}`, {}, e);
  }
}

async function readHead(file: StorageFile): Promise<Buffer> {
  const pieces: Piece[] = [];
  let have = 0;
  for await (const piece of file.pieces(new AbortController().signal)) {
    pieces.push(piece);
    have += lengthOf(piece);
    if (have >= HEAD_BYTES) break;
  }
  return headOf(pieces);
}
