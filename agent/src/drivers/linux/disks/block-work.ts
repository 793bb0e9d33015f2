/**
 * Images and disks on their way into volumes that are no files, and out of them. What reads our qcow2 file is a confined qemu-nbd; what writes to a server of
 * storage is qemu-img with a network, which sees nothing but the raw disk that the other gives. Its secret goes to it as an open
 * file that has no name any more: neither arguments nor a folder show it.
 */
import { chown, open, rm, type FileHandle } from 'node:fs/promises';
import { lengthOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { isClusterError, unsupported } from '@berth/shared/errors/cluster-error.ts';
import { newUuid } from '@berth/shared/runtime/random.ts';
import type { LongWork, NetworkSource } from '../../disks.ts';
import { runnable, type BlockWork, type NetworkTarget, type PoolFile } from '../../volume-work.ts';
import { capturePoolSnapshot } from './changes/capture-snapshot.ts';
import { captureDisk, exportDisk } from './changes/export-disk.ts';
import { lend, ownFile } from './changes/own-file.ts';
import { checkPoolFile, rewritePoolFile, withPoolFile } from './changes/pool-file.ts';
import { served, SERVED_EXPORT, type ServedFile, type ServeParts } from './changes/served.ts';
import { lastPercentage } from './convert.ts';
import type { ImageStore } from './images.ts';
import { connectNbd, type NbdClient } from './nbd-client.ts';
import { stageFullClone } from './full-clone.ts';
import type { Pool } from './pool.ts';
import type { Uploads } from './uploads.ts';

export interface BlockParts extends ServeParts {
  readonly pool: Pool;
  readonly images: ImageStore;
  readonly uploads: Uploads;
  /** What was left of a crash has been swept up. */
  readonly opened: Promise<void>;
}

const PIECE_BYTES = 4 * 2 ** 20;
const LOG_BYTES = 2 ** 20;
const STATUS_BYTES = 2 ** 30;
const ZEROS = Buffer.alloc(PIECE_BYTES);
const SECRET_OBJECT = 'secret,id=key,format=base64,file=/dev/fd/3';

export const createBlockWork = (parts: BlockParts): BlockWork => ({
  readImage: (digest, signal) => readImage(parts, digest, signal),
  async writeOut(digest, target, work) {
    const { virtualSizeBytes } = await parts.images.get(digest);
    await writeOut(parts, { ...imageFile(parts, digest), sizeBytes: virtualSizeBytes }, target, work);
  },
  readVolume: (volumeId, signal) => readVolume(parts, volumeId, signal),
  async writeVolumeOut(volumeId, target, work) {
    const { file, sizeBytes } = await ownDisk(parts, volumeId);
    await lend(parts.exec, file.path, () => writeOut(parts, { ...file, sizeBytes }, target, work));
  },
  readIn: (target, signal) => readIn(parts, target, signal),
  writeIn: (target, pieces, signal) => writeIn(parts, target, pieces, signal),
  readFile: (file, signal) => readFile(parts, file, signal),
  async insistFree(file, signal) {
    await checkPoolFile(file);
    await withPoolFile(parts, file, signal, async () => undefined);
  },
  // what a start sweeps up must not be this
  rewriteFile: async (file, wanted, work) => {
    await parts.opened;
    return rewritePoolFile(parts, file, wanted, work);
  },
  copyImage: async (spec, work) => {
    await parts.opened;
    return stageFullClone(parts, spec, work);
  },
  writeFileOut: ({ path, sizeBytes }, target, work) =>
    lend(parts.exec, path, () => writeOut(parts, { path, format: 'raw', sizeBytes }, target, work)),
  exportDisk: async (exportId, disk, format, work) => {
    await parts.opened;
    return exportDisk(parts, exportId, { disk, format }, work);
  },
  captureSnapshot: async (uploadId, of, work) => {
    await parts.opened;
    await capturePoolSnapshot(parts, uploadId, of, work);
  },
  captureDisk: async (uploadId, disk, work) => {
    await parts.opened;
    await captureDisk(parts, uploadId, disk, work);
  },
});

const imageFile = ({ pool }: BlockParts, digest: string): ServedFile => ({
  ...{ path: pool.imagePath(digest), format: 'qcow2' },
});

async function* readImage(parts: BlockParts, digest: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  await parts.images.get(digest);
  yield* all(parts, imageFile(parts, digest), signal);
}

/** @throws BAD_STATE: in a format that VMs do not run with */
async function ownDisk({ pool }: BlockParts, volumeId: string): Promise<{ file: ServedFile; sizeBytes: number }> {
  const { path, format, sizeBytes } = await ownFile(pool, volumeId);
  return { file: { path, format: runnable({ volumeId, format }) }, sizeBytes };
}

async function* readVolume(parts: BlockParts, volumeId: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const { file } = await ownDisk(parts, volumeId);
  yield* whileLent<ServedFile>(
    (fn) => lend(parts.exec, file.path, () => fn(file)),
    (at) => all(parts, at, signal),
  );
}

async function* readFile(parts: BlockParts, file: PoolFile, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  await checkPoolFile(file);
  yield* whileLent<ServedFile>(
    (fn) => withPoolFile(parts, file, signal, fn),
    (disk) => all(parts, disk, signal),
  );
}

/** Lent for as long as somebody reads. */
async function* whileLent<A>(
  lending: (fn: (at: A) => Promise<void>) => Promise<void>,
  bytes: (at: A) => AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => (end = resolve));
  let lent: Promise<void> = Promise.resolve();
  const at = await new Promise<A>((resolve, reject) => {
    lent = lending(async (given) => (resolve(given), await ended));
    lent.catch(reject);
  });
  try {
    yield* bytes(at);
  } finally {
    end();
    await lent;
  }
}

async function* readIn(parts: BlockParts, target: NetworkTarget, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const secret = target.secret && (await secretFile(parts, target.secret));
  try {
    yield* all(parts, behind(target, secret), signal);
  } catch (e) {
    throw lacksProtocol(e, target.source);
  } finally {
    await secret?.close();
  }
}

/** Storage behind the network, as qemu-nbd opens it. */
const behind = ({ source }: NetworkTarget, secret: FileHandle | undefined): ServedFile => ({
  ...{ path: rbdOptions(source, secret !== undefined), format: undefined, network: true, descriptor: secret?.fd },
  args: secret ? ['--object', SECRET_OBJECT] : [],
});

async function writeIn(
  parts: BlockParts,
  target: NetworkTarget,
  pieces: AsyncIterable<Piece>,
  signal: AbortSignal,
): Promise<void> {
  const secret = target.secret && (await secretFile(parts, target.secret));
  try {
    // of files it writes its log alone
    const file = { ...behind(target, secret), writesBytes: LOG_BYTES };
    await served(parts, file, signal, (socketPath) => writeAll(parts, socketPath, pieces, signal));
  } catch (e) {
    throw lacksProtocol(e, target.source);
  } finally {
    await secret?.close();
  }
}

async function writeAll(
  { clock }: BlockParts,
  socketPath: string,
  pieces: AsyncIterable<Piece>,
  signal: AbortSignal,
): Promise<void> {
  const nbd = await connectNbd({ socketPath, exportName: SERVED_EXPORT, clock, signal });
  try {
    let at = 0;
    for await (const piece of pieces) {
      if (typeof piece !== 'number') await nbd.write(at, piece);
      at += lengthOf(piece);
    }
    await nbd.flush();
  } finally {
    nbd.close();
  }
}

async function* all(parts: BlockParts, file: ServedFile, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const { pieces, done } = readServed(parts, file, signal);
  try {
    yield* pieces;
  } finally {
    await done();
  }
}

/** `served` runs a function; here somebody else asks for one piece after the other. */
function readServed(parts: BlockParts, file: ServedFile, signal: AbortSignal) {
  let leave: () => void = () => undefined;
  const left = new Promise<void>((resolve) => (leave = resolve));
  let serving: Promise<void> = Promise.resolve();
  async function* pieces(): AsyncGenerator<Uint8Array> {
    const socket = await new Promise<string>((resolve, reject) => {
      serving = served(parts, file, signal, (socketPath) => {
        resolve(socketPath);
        return left;
      });
      serving.catch(reject);
    });
    const nbd = await connectNbd({ socketPath: socket, exportName: SERVED_EXPORT, clock: parts.clock, signal });
    try {
      yield* allOf(nbd);
    } finally {
      nbd.close();
    }
  }
  const done = async (): Promise<void> => {
    leave();
    await serving.catch(() => undefined);
  };
  return { pieces: pieces(), done };
}

/** What is known to be zero is not read. */
async function* allOf(nbd: NbdClient): AsyncGenerator<Uint8Array> {
  let at = 0;
  while (at < nbd.sizeBytes)
    for (const { length, zero } of await nbd.blockStatus(at, Math.min(STATUS_BYTES, nbd.sizeBytes - at)))
      for (const end = at + length; at < end;) {
        const bytes = Math.min(PIECE_BYTES, end - at);
        yield zero ? ZEROS.subarray(0, bytes) : await nbd.read(at, bytes);
        at += bytes;
      }
}

async function writeOut(
  parts: BlockParts,
  file: ServedFile & { readonly sizeBytes: number },
  target: NetworkTarget,
  work: LongWork,
): Promise<void> {
  const { sizeBytes } = file;
  const secret = target.secret && (await secretFile(parts, target.secret));
  try {
    await served(parts, file, work.signal, async (socket) => {
      let done = 0;
      const onOutput = (text: string): void => {
        done = Math.max(done, lastPercentage(text) / 100);
        work.onProgress(Math.floor(sizeBytes * done), sizeBytes);
      };
      await parts.exec.runConfined('qemu-img', convertArguments(socket, target.source, secret !== undefined), {
        ...{ signal: work.signal, timeoutMs: 0, onOutput, what: `writing to ${target.source.name}` },
        ...(secret && { descriptor: secret.fd }),
        limits: { network: true },
      });
    });
  } catch (e) {
    throw lacksProtocol(e, target.source);
  } finally {
    await secret?.close();
  }
}

/** What it writes to was made a moment ago, and has nothing in it. Pure; a golden file keeps it. */
export function convertArguments(socket: string, source: NetworkSource, hasSecret: boolean): readonly string[] {
  return [
    ...['convert', '-p', '-n', '-f', 'raw', '--target-image-opts', '--target-is-zero'],
    ...(hasSecret ? ['--object', SECRET_OBJECT] : []),
    `nbd+unix:///${SERVED_EXPORT}?socket=${socket}`,
    rbdOptions(source, hasSecret),
  ];
}

/** None of its words has a comma: shared/src/pool/check.ts. A port that is not said is found by the client. */
function rbdOptions({ name, hosts, auth }: NetworkSource, hasSecret: boolean): string {
  const [pool = '', image = ''] = name.split('/');
  const servers = hosts.flatMap((h, i) => {
    const [, host = h, port = '0'] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(h) ?? [];
    return [`server.${i}.host=${host}`, `server.${i}.port=${port}`];
  });
  const who = auth ? [`user=${auth.user}`, ...(hasSecret ? ['key-secret=key'] : [])] : [];
  return ['driver=rbd', `pool=${pool}`, `image=${image}`, ...who, ...servers].join(',');
}

/** Open, the unprivileged user's, and without a name. Base64, as libvirt gives it to QEMU. */
async function secretFile({ exec, pool }: BlockParts, secret: Uint8Array): Promise<FileHandle> {
  const path = pool.stagingPath(`secret-${newUuid()}`);
  const file = await open(path, 'wx+', 0o400);
  try {
    await file.writeFile(Buffer.from(secret).toString('base64'));
    const { uid, gid } = await exec.sandboxUser();
    await chown(path, uid, gid);
    return file;
  } catch (e) {
    await file.close();
    throw e;
  } finally {
    await rm(path, { force: true });
  }
}

/** QEMU knows it only with a package of its own. */
function lacksProtocol(e: unknown, { protocol }: NetworkSource): unknown {
  if (!isClusterError(e, 'INTERNAL') || !/Unknown (driver|protocol)/.test(e.message)) return e;
  return unsupported(`QEMU on this host knows no ${protocol}; install it: apt-get install qemu-block-extra`);
}
