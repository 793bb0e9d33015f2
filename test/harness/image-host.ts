/**
 * A program, not a module: one side of an image transfer as a process of its own, so that a test can stop and kill it. Its
 * configuration is the file named in argv; commands come as JSON lines on standard input, events leave on standard output.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createExec } from '@berth/agent/drivers/linux/exec.ts';
import { createDigestService } from '@berth/agent/drivers/linux/disks/digest-service.ts';
import { createImageStore } from '@berth/agent/drivers/linux/disks/images.ts';
import { createPool, preparePool } from '@berth/agent/drivers/linux/disks/pool.ts';
import { createImageServers } from '@berth/agent/drivers/linux/disks/serve.ts';
import { createBaseServers } from '@berth/agent/drivers/linux/fetch/base-server.ts';
import { createFetcher } from '@berth/agent/drivers/linux/fetch/fetcher.ts';
import { createHelpers } from '@berth/agent/drivers/linux/helpers.ts';
import { createPeerPort } from '@berth/agent/peer/port.ts';
import { createTunnels } from '@berth/agent/peer/tunnels.ts';
import { plainPeer } from '@berth/agent/testing/identity.ts';
import type { HostTestIdentity } from './pki.ts';
import type { PeerSource } from '@berth/agent/peer/dial.ts';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';

export interface SourceConfig {
  readonly role: 'source';
  readonly identity: HostTestIdentity;
  /** UNIX socket of what serves the image. */
  readonly imageSocket: string;
  /** File with its packed hashes. Absent: it is too old to give any. */
  readonly hashesFile?: string;
}
export interface TargetConfig {
  readonly role: 'target';
  readonly identity: HostTestIdentity;
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
  /** The agent ends in order. */
  readonly stop?: true;
}

const log = createLog('image-host', process.argv[3] === undefined ? 'silent' : 'debug');
const clock = systemClock;
const emit = (event: unknown): boolean => process.stdout.write(`${JSON.stringify(event)}\n`);
const onCommand = (run: (c: HostCommand) => void): unknown =>
  createInterface({ input: process.stdin }).on('line', (line) => run(JSON.parse(line) as HostCommand));

async function source(config: SourceConfig): Promise<void> {
  const identity = plainPeer(config.identity);
  const listen = { host: '127.0.0.1', port: 0 };
  const { hashesFile } = config;
  const hashes = hashesFile === undefined ? {} : { hashes: async () => readFileSync(hashesFile) };
  const port = createPeerPort({ listen, identity, serve: async () => config.imageSocket, ...hashes, clock, log });
  emit(await port.start());
  onCommand((c) => c.openExport && emit(port.openExport(c.openExport)));
}

async function target(config: TargetConfig): Promise<void> {
  const exec = createExec({ unprivilegedUser: 'nobody' });
  const pool = createPool(config.dataDir);
  await preparePool(pool);
  const tunnels = createTunnels({
    dir: `${config.dataDir}/run/tunnels`,
    identity: plainPeer(config.identity),
    clock,
    log,
    silentMs: config.silentMs,
  });
  const tunnel = await tunnels.open('job-1.fetch', { onNeedsSource: (needs, why) => emit({ needs, why }) });
  const stop = new AbortController();
  onCommand((c) => {
    if (c.offer) tunnel.offer(c.offer);
    if (c.cancel) stop.abort();
    if (c.stop) stop.abort(new ClusterError('HOST_UNREACHABLE', 'the agent is stopping'));
  });
  const image = { digest: config.digest, virtualSizeBytes: config.virtualSizeBytes };
  const parts = { pool, exec, clock, log };
  const helpers = createHelpers(parts);
  const images = createImageStore(pool);
  const fetcher = createFetcher({
    ...parts,
    helpers,
    bases: createBaseServers({ ...parts, helpers }),
    bootId: async () => 'this boot',
    images,
    servers: createImageServers({ ...parts, helpers, images }),
    digests: createDigestService(parts),
  });
  try {
    if (config.work === 'drop') return void emit({ dropped: await fetcher.dropFetch(image.digest).then(() => true) });
    const work = {
      signal: stop.signal,
      hashesSocket: tunnel.hashesPath,
      blame: (why: string) => tunnel.blame(why),
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

const file = process.argv[2];
if (file !== undefined && file.endsWith('.json')) {
  const config = JSON.parse(readFileSync(file, 'utf8')) as SourceConfig | TargetConfig;
  await (config.role === 'source' ? source(config) : target(config));
}
