/** Images between simulated hosts: one line of JSON over the same sockets and tunnels that real bytes would take. */
import { rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { SimHost, SimImage } from '@berth/shared/sim/sim-host.ts';
import type { LongWork } from '../disks.ts';

const RETRY_MS = 50;
/** Longer than the tunnel takes to find a peer silent and ask for another: QEMU waits as long as it takes. */
const SILENCE_MS = 30_000;

/** Images that others read, each served once. */
export class SimImageServers {
  readonly #served = new Map<string, Promise<{ readonly server: Server; readonly path: string }>>();

  constructor(
    readonly host: SimHost,
    /** Where the sockets go. */
    readonly runDir: string,
  ) {}

  async serve(digest: string): Promise<string> {
    const image = this.host.images.get(digest);
    if (!image) throw notFound(`no image ${digest} on ${this.host.options.name}`);
    const served = this.#served.get(digest) ?? this.#listen(image);
    this.#served.set(digest, served);
    return (await served).path;
  }

  async stop(digest: string): Promise<void> {
    const served = await this.#served.get(digest);
    this.#served.delete(digest);
    if (!served) return;
    served.server.close();
    await rm(served.path, { force: true });
  }

  async close(): Promise<void> {
    for (const digest of [...this.#served.keys()]) await this.stop(digest);
  }

  async #listen(image: SimImage): Promise<{ server: Server; path: string }> {
    const path = join(this.runDir, `serve-${image.digest.slice(7, 23)}.sock`);
    await rm(path, { force: true });
    const server = createServer((s) => {
      s.on('error', () => {});
      s.end(`${JSON.stringify(image)}\n`);
    });
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
    return { server, path };
  }
}

/** Asks the socket until somebody answers; the peer behind it may come and go. */
export async function fetchSimImage(
  host: SimHost,
  clock: Clock,
  want: { readonly digest: string; readonly socket: string },
  work: LongWork,
): Promise<SimImage> {
  for (;;) {
    const have = host.images.get(want.digest);
    if (have) return have;
    if (work.signal.aborted) throw new ClusterError('CANCELLED', 'the fetch was cancelled');
    const line = await readLine(want.socket, work.signal);
    if (line !== undefined) return install(host, want.digest, JSON.parse(line) as SimImage, work);
    await clock.sleep(RETRY_MS, work.signal).catch(() => undefined); // an abort is told above
  }
}

function install(host: SimHost, digest: string, image: SimImage, work: LongWork): SimImage {
  if (image.digest !== digest)
    throw new ClusterError('DIGEST_MISMATCH', `what arrived as image ${digest} is something else (${image.digest})`);
  host.reserve(image.fileBytes);
  work.onProgress(image.fileBytes, image.fileBytes);
  host.images.set(digest, image);
  return image;
}

/** One line from a UNIX socket; undefined when nothing whole came, or it is not waited for any more. */
function readLine(path: string, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    let got = '';
    const socket = connect(path);
    const stop = (): void => void socket.destroy();
    signal.addEventListener('abort', stop, { once: true });
    socket.setTimeout(SILENCE_MS, stop);
    socket.on('data', (d) => (got += d.toString()));
    socket.on('error', () => {});
    socket.on('close', () => {
      signal.removeEventListener('abort', stop);
      resolve(got.endsWith('\n') ? got : undefined);
    });
  });
}
