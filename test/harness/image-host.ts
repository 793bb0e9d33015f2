/**
 * A program, not a module: one side of an image transfer as a process of its own, so that a test can stop and kill it. Its
 * configuration is the file named in argv; commands come as JSON lines on standard input, events leave on standard output.
 */
import { readFileSync } from 'node:fs';
import { chmod, mkdir, rename, stat } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { createExec } from '@berth/agent/drivers/linux/exec.ts';
import { digestOfExport } from '@berth/agent/drivers/linux/disks/digest.ts';
import { connectNbd } from '@berth/agent/drivers/linux/disks/nbd-client.ts';
import { createPool, preparePool } from '@berth/agent/drivers/linux/disks/pool.ts';
import { createFetcher } from '@berth/agent/drivers/linux/fetch/fetcher.ts';
import { createPeerPort } from '@berth/agent/peer/port.ts';
import { createTunnels } from '@berth/agent/peer/tunnels.ts';
import type { PeerIdentity } from '@berth/agent/peer/identity.ts';
import type { PeerSource } from '@berth/agent/peer/dial.ts';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';

export interface SourceConfig {
  readonly role: 'source';
  readonly identity: PeerIdentity;
  /** UNIX socket of what serves the image. */
  readonly imageSocket: string;
}
export interface TargetConfig {
  readonly role: 'target';
  readonly identity: PeerIdentity;
  readonly dataDir: string;
  readonly digest: string;
  readonly virtualSizeBytes: number;
  readonly silentMs: number;
  readonly work: 'fetch' | 'drop';
}
export interface HostCommand {
  readonly openExport?: { digest: string; peerHostId: string };
  readonly offer?: PeerSource;
  readonly cancel?: true;
}

const log = createLog('image-host', process.argv[3] === undefined ? 'silent' : 'debug');
const clock = systemClock;
const emit = (event: unknown): boolean => process.stdout.write(`${JSON.stringify(event)}\n`);
const onCommand = (run: (c: HostCommand) => void): unknown =>
  createInterface({ input: process.stdin }).on('line', (line) => run(JSON.parse(line) as HostCommand));

async function source(config: SourceConfig): Promise<void> {
  const { identity } = config;
  const listen = { host: '127.0.0.1', port: 0 };
  const port = createPeerPort({ listen, identity, serve: async () => config.imageSocket, clock, log });
  emit(await port.start());
  onCommand((c) => c.openExport && emit(port.openExport(c.openExport)));
}

async function target(config: TargetConfig): Promise<void> {
  const exec = createExec({ unprivilegedUser: 'nobody' });
  const pool = createPool(config.dataDir);
  await preparePool(pool);
  const tunnels = createTunnels({
    dir: `${config.dataDir}/run/tunnels`,
    identity: config.identity,
    owner: await exec.sandboxUser(),
    clock,
    log,
    silentMs: config.silentMs,
  });
  const tunnel = await tunnels.open('job-1.fetch', { onNeedsSource: (needs, why) => emit({ needs, why }) });
  const stop = new AbortController();
  onCommand((c) => {
    if (c.offer) tunnel.offer(c.offer);
    if (c.cancel) stop.abort();
  });
  const image = { digest: config.digest, virtualSizeBytes: config.virtualSizeBytes };
  const seen = async (): Promise<{ fileBytes: number }> => ({
    fileBytes: (await stat(pool.imagePath(image.digest))).size,
  });
  const fetcher = createFetcher({
    pool,
    exec,
    clock,
    log,
    installed: async () =>
      seen().then(
        (s) => ({ ...image, ...s }),
        () => undefined,
      ),
    install: async (path) => {
      await verify(path, config.digest, stop.signal);
      await chmod(path, 0o444);
      await rename(path, pool.imagePath(image.digest));
      return { ...image, ...(await seen()) };
    },
  });
  try {
    if (config.work === 'drop') return void emit({ dropped: await fetcher.dropFetch(image.digest).then(() => true) });
    const work = {
      signal: stop.signal,
      onProgress: (done: number, total: number) => void emit({ done, total, bytes: tunnel.bytes() }),
    };
    emit({ image: await fetcher.fetchImage(image, tunnel.socketPath, work), bytes: tunnel.bytes() });
  } catch (e) {
    emit({ error: isClusterError(e) ? e.reason : 'UNKNOWN', message: e instanceof Error ? e.message : String(e) });
  } finally {
    await tunnels.closeAll();
    process.exitCode = 0;
    process.stdin.destroy();
  }
}

/** Digest of a qcow2 on this machine's disk. */
export async function digestOf(path: string, signal: AbortSignal): Promise<string> {
  const dir = `/tmp/berth-digest-${process.pid}`;
  await mkdir(dir, { recursive: true });
  const socketPath = `${dir}/s`;
  const nbd = execa('qemu-nbd', ['-r', '-t', '-k', socketPath, '-f', 'qcow2', path], { reject: false });
  try {
    while (!(await stat(socketPath).catch(() => undefined))) await clock.sleep(10, signal);
    const client = await connectNbd({ socketPath, exportName: '', clock });
    const got = await digestOfExport(client, { signal, onProgress: () => undefined });
    client.close();
    return got.digest;
  } finally {
    nbd.kill('SIGKILL');
    await nbd;
    await execa('rm', ['-rf', dir]);
  }
}

async function verify(path: string, expected: string, signal: AbortSignal): Promise<void> {
  const got = await digestOf(path, signal);
  if (got !== expected) throw new ClusterError('DIGEST_MISMATCH', `${path} holds ${got}, not ${expected}`);
}

const file = process.argv[2];
if (file !== undefined && file.endsWith('.json')) {
  const config = JSON.parse(readFileSync(file, 'utf8')) as SourceConfig | TargetConfig;
  await (config.role === 'source' ? source(config) : target(config));
}
