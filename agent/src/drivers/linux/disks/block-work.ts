/**
 * Images on their way into volumes that are no files. What reads our qcow2 file is a confined qemu-nbd; what writes to a server of
 * storage is qemu-img with a network, which sees nothing but the raw disk that the other gives. Its secret goes to it as an open
 * file that has no name any more: neither arguments nor a folder show it.
 */
import { chown, open, rm, type FileHandle } from 'node:fs/promises';
import { ClusterError, isClusterError, unsupported } from '@berth/shared/errors/cluster-error.ts';
import { newUuid } from '@berth/shared/runtime/random.ts';
import type { LongWork, NetworkSource } from '../../disks.ts';
import type { BlockWork, NetworkTarget } from '../../volume-work.ts';
import { served, SERVED_EXPORT, type ServeParts } from './changes/served.ts';
import { lastPercentage } from './convert.ts';
import type { ImageStore } from './images.ts';
import { connectNbd } from './nbd-client.ts';
import type { Pool } from './pool.ts';

export interface BlockParts extends ServeParts {
  readonly pool: Pool;
  readonly images: ImageStore;
}

const PIECE_BYTES = 4 * 2 ** 20;
const SECRET_DESCRIPTOR = '/dev/fd/3';

export const createBlockWork = (parts: BlockParts): BlockWork => ({
  readImage: (digest, signal) => readImage(parts, digest, signal),
  writeOut: (digest, target, work) => writeOut(parts, digest, target, work),
});

async function* readImage(parts: BlockParts, digest: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  await parts.images.get(digest);
  const { pieces, done } = readServed(parts, digest, signal);
  try {
    yield* pieces;
  } finally {
    await done();
  }
}

/** `served` runs a function; here somebody else asks for one piece after the other. */
function readServed(parts: BlockParts, digest: string, outer: AbortSignal) {
  const enough = new AbortController();
  const signal = AbortSignal.any([enough.signal, outer]);
  let serving: Promise<void> = Promise.resolve();
  async function* pieces(): AsyncGenerator<Uint8Array> {
    const socket = await new Promise<string>((resolve, reject) => {
      const file = { path: parts.pool.imagePath(digest), format: 'qcow2' as const };
      serving = served(parts, file, signal, (path) => {
        resolve(path);
        return new Promise<void>((_, stop) => signal.addEventListener('abort', () => stop(signal.reason as Error)));
      });
      serving.catch(reject);
    });
    const nbd = await connectNbd({ socketPath: socket, exportName: SERVED_EXPORT, clock: parts.clock, signal });
    try {
      for (let at = 0; at < nbd.sizeBytes; at += PIECE_BYTES)
        yield await nbd.read(at, Math.min(PIECE_BYTES, nbd.sizeBytes - at));
    } finally {
      nbd.close();
    }
  }
  const done = async (): Promise<void> => {
    enough.abort(new ClusterError('CANCELLED', 'the image has been read'));
    await serving.catch(() => undefined);
  };
  return { pieces: pieces(), done };
}

async function writeOut(parts: BlockParts, digest: string, target: NetworkTarget, work: LongWork): Promise<void> {
  const { virtualSizeBytes } = await parts.images.get(digest);
  const file = { path: parts.pool.imagePath(digest), format: 'qcow2' as const };
  const secret = target.secret && (await secretFile(parts, target.secret));
  try {
    await served(parts, file, work.signal, async (socket) => {
      let done = 0;
      const onOutput = (text: string): void => {
        done = Math.max(done, lastPercentage(text) / 100);
        work.onProgress(Math.floor(virtualSizeBytes * done), virtualSizeBytes);
      };
      await parts.exec.runConfined('qemu-img', convertArguments(socket, target.source, secret !== undefined), {
        ...{ signal: work.signal, timeoutMs: 0, onOutput, what: `writing the image to ${target.source.name}` },
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
    ...(hasSecret ? ['--object', `secret,id=key,format=base64,file=${SECRET_DESCRIPTOR}`] : []),
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
