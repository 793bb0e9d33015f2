/**
 * An image from host to host over real TLS, each side a process of its own that is stopped and killed; real qemu-nbd and
 * qemu-storage-daemon. Single behaviours of port and tunnel are tested beside them.
 */
import { build } from 'esbuild';
import { execa } from 'execa';
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDigestService } from '@berth/agent/drivers/linux/disks/digest-service.ts';
import { createPool, preparePool } from '@berth/agent/drivers/linux/disks/pool.ts';
import { IMAGE_EXPORT } from '@berth/agent/drivers/linux/disks/serve.ts';
import { createExec } from '@berth/agent/drivers/linux/exec.ts';
import type { HostCommand, SourceConfig, TargetConfig } from '../harness/image-host.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { makeCa, type TestCa } from '../harness/pki.ts';
import { until } from '../harness/until.ts';

const MIB = 2 ** 20;
const SIZE = 1024 * MIB;
/** 128 MiB of noise, spread over the disk. */
const PIECES = 32;
const PIECE = 4 * MIB;
const DATA = PIECES * PIECE;
/** Killed in the middle, a storage daemon loses what its L2 cache held: two tables of 32 MiB each. */
const CHECKPOINT_SLACK = 64 * MIB;
/** Chunks that were on their way to an agent when it died come again: fill.ts asks for three of 4 MiB at once. */
const UNDER_WAY = 3 * 4 * MIB;

let work: string;
let program: string;
let ca: TestCa;
let image: string;
let other: string;
let digest: string;
let dir: string;
const cleanups: (() => unknown)[] = [];

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'berth-transfer-'));
  await chmod(work, 0o711);
  program = join(work, 'image-host.mjs');
  const banner = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";
  await build({
    entryPoints: [join(import.meta.dirname, '../harness/image-host.ts')],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    banner: { js: banner },
    logLevel: 'error',
  });
  ca = await makeCa();
  image = await makeImage('image', 1);
  other = await makeImage('other', 2);
  digest = await digestOf(image);
});
afterAll(() => rm(work, { recursive: true, force: true }));
beforeEach(async () => {
  dir = await mkdtemp(join(work, 'case-'));
  await chmod(dir, 0o711);
});
afterEach(async () => {
  for (const f of cleanups.splice(0).reverse()) await f();
});

async function digestOf(path: string): Promise<string> {
  const pool = createPool(join(work, 'pool'));
  await preparePool(pool);
  const digests = createDigestService({ exec: createExec({ unprivilegedUser: 'nobody' }), pool, clock: systemClock });
  const progress = { signal: new AbortController().signal, onProgress: () => undefined };
  return (await digests.ofFile(path, 'qcow2', progress)).digest;
}

async function makeImage(name: string, seed: number): Promise<string> {
  const raw = join(work, `${name}.raw`);
  const file = await open(raw, 'w');
  await file.truncate(SIZE);
  for (let i = 0; i < PIECES; i++) {
    const noise = randomBytes(PIECE);
    noise[0] = seed;
    await file.write(noise, 0, PIECE, (i * SIZE) / PIECES);
  }
  await file.close();
  const path = join(work, `${name}.qcow2`);
  await execa('qemu-img', ['convert', '-O', 'qcow2', raw, path]);
  await rm(raw);
  return path;
}

/** 50 MiB of data, spread over 200 GiB. */
async function makeSparse(): Promise<{ path: string; digest: string; virtualSizeBytes: number }> {
  const [path, virtualSizeBytes] = [join(work, 'sparse.qcow2'), 200 * 1024 * MIB];
  await execa('qemu-img', ['create', '-q', '-f', 'qcow2', path, String(virtualSizeBytes)]);
  const writes = Array.from({ length: 50 }, (_, i) => ['-c', `write -q -P ${i + 1} ${i * 4 * 1024 + 1}M 1M`]);
  await execa('qemu-io', ['-f', 'qcow2', path, ...writes.flat()]);
  return { path, digest: await digestOf(path), virtualSizeBytes };
}

interface Event {
  readonly [key: string]: unknown;
  readonly done?: number;
  readonly bytes?: number;
}

const spawnHost = (file: string) =>
  execa('node', [program, file], { reject: false, stdin: 'pipe', buffer: false, stderr: 'inherit' });

/** A process of image-host.ts. */
class Host {
  readonly events: Event[] = [];
  private constructor(readonly process: ReturnType<typeof spawnHost>) {}

  static async start(name: string, config: SourceConfig | TargetConfig): Promise<Host> {
    const file = join(dir, `${name}-${randomBytes(3).toString('hex')}.json`);
    await writeFile(file, JSON.stringify(config));
    const child = spawnHost(file);
    const host = new Host(child);
    let seen = '';
    child.stdout.on('data', (d: Buffer) => {
      const lines = (seen + d.toString()).split('\n');
      seen = lines.pop() ?? '';
      for (const l of lines) host.events.push(JSON.parse(l) as Event);
    });
    cleanups.push(() => host.kill());
    return host;
  }

  send(command: HostCommand): void {
    this.process.stdin.write(`${JSON.stringify(command)}\n`);
  }

  event(key: string, timeoutMs = 30_000, from = 0): Promise<Event> {
    return until(
      `an event with ${key}`,
      () => this.events.slice(from).find((e) => e[key] !== undefined && e[key] !== false),
      timeoutMs,
    );
  }

  reached(bytes: number): Promise<unknown> {
    return until(`${bytes} bytes`, () => this.events.some((e) => (e.bytes ?? 0) >= bytes), 30_000);
  }

  get bytes(): number {
    return Math.max(0, ...this.events.map((e) => e.bytes ?? 0));
  }

  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.process;
  }
}

interface Source {
  readonly host: Host;
  readonly nbd: { kill(signal: NodeJS.Signals): boolean };
  /** Lets the target read from here. */
  offerTo(target: Host, what?: string): Promise<void>;
}

interface Served {
  readonly path?: string;
  /** Keeps the transfer long enough to be disturbed. */
  readonly bytesPerSecond?: number;
  /** Instead of the throttled image: `--image-opts` of qemu-nbd. */
  readonly opts?: string;
  readonly exportName?: string;
}

const FAST = { bytesPerSecond: 1024 * MIB };

async function startSource(name: string, served: Served = {}): Promise<Source> {
  const { path = image, bytesPerSecond = 48 * MIB, opts, exportName = IMAGE_EXPORT } = served;
  const imageSocket = join(dir, `${name}.sock`);
  const limited = `driver=throttle,throttle-group=t,file.driver=qcow2,file.file.driver=file,file.file.filename=${path}`;
  const limit = ['--object', `throttle-group,id=t,x-bps-total=${bytesPerSecond}`];
  const args = ['-r', '-t', '-e', '16', '-x', exportName, '-k', imageSocket, ...limit, '--image-opts', opts ?? limited];
  const nbd = execa('qemu-nbd', args, { reject: false });
  cleanups.push(async () => {
    nbd.kill('SIGKILL');
    await nbd;
  });
  await until('qemu-nbd listens', () => stat(imageSocket).catch(() => undefined));
  const identity = await ca.transfer(name);
  const host = await Host.start(name, { role: 'source', identity, imageSocket });
  const { port } = await host.event('port');
  return {
    host,
    nbd,
    async offerTo(target, what = digest) {
      const from = host.events.length;
      host.send({ openExport: { digest: what, peerHostId: 'host-t' } });
      const { ticket } = await host.event('ticket', 5_000, from);
      target.send({ offer: { peerHostId: name, address: `127.0.0.1:${String(port)}`, ticket: String(ticket) } });
    },
  };
}

async function startTarget(over: Partial<TargetConfig> = {}): Promise<Host> {
  const identity = await ca.transfer('host-t');
  const dataDir = join(dir, 'data');
  cleanups.push(() => killDaemons(dataDir));
  const base = { role: 'target' as const, identity, dataDir, digest, virtualSizeBytes: SIZE, silentMs: 1_500 };
  return Host.start('host-t', { ...base, work: 'fetch', ...over });
}

async function daemons(dataDir = join(dir, 'data')): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    const line = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    if (line.includes('qemu-storage-daemon') && line.includes(dataDir)) found.push(Number(name));
  }
  return found;
}

async function killDaemons(dataDir: string): Promise<void> {
  for (const pid of await daemons(dataDir)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // gone already
    }
  }
  await until('no daemon is left', async () => (await daemons(dataDir)).length === 0);
}

const imagePath = (): string => join(dir, 'data/images', `${digest.slice(7)}.qcow2`);
const cachePath = (): string => join(dir, 'data/cache', `${digest.slice(7)}.qcow2`);

async function expectWhole(target: Host): Promise<void> {
  const end = await until('the end', () => target.events.find((e) => e['image'] ?? e['error']), 60_000);
  expect(end['message']).toBeUndefined();
  await execa('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', image, imagePath()]);
  const info = JSON.parse((await execa('qemu-img', ['info', '--output=json', imagePath()])).stdout) as Record<
    string,
    unknown
  >;
  expect(info['backing-filename']).toBeUndefined();
  expect(info['actual-size']).toBeLessThan(DATA * 1.1);
  expect((await stat(imagePath())).mode & 0o777).toBe(0o444);
  expect(await stat(cachePath()).catch(() => undefined)).toBeUndefined();
  expect(await daemons()).toEqual([]);
}

describe('an image from host to host', { timeout: 90_000 }, () => {
  it('arrives whole and sparse, and zeros do not travel', async () => {
    const target = await startTarget();
    await target.event('needs');
    const a = await startSource('host-a', FAST);
    await a.offerTo(target);
    await expectWhole(target);
    expect(target.bytes).toBeGreaterThan(DATA);
    expect(target.bytes).toBeLessThan(DATA * 1.02);
    const again = await startTarget();
    expect(await again.event('image')).toMatchObject({ image: { digest }, bytes: 0 });
  });

  it('takes seconds when it is 200 GiB with next to nothing in it', async () => {
    const sparse = await makeSparse();
    const [target, a] = [await startTarget(sparse), await startSource('host-a', { path: sparse.path, ...FAST })];
    await a.offerTo(target, sparse.digest);
    const from = systemClock.monotonic();
    const end = await until('the end', () => target.events.find((e) => e['image'] ?? e['error']), 80_000);
    expect(end['message']).toBeUndefined();
    expect(systemClock.monotonic() - from).toBeLessThan(60_000);
    expect(target.bytes).toBeLessThan(51 * MIB);
  });

  it('goes on with another peer when the first is killed, without copying again', async () => {
    const [target, a, b] = [await startTarget(), await startSource('host-a'), await startSource('host-b')];
    await a.offerTo(target);
    await target.reached(DATA * 0.3);
    const from = target.events.length;
    await a.host.kill();
    expect((await target.event('needs', 10_000, from))['why']).toContain('host-a');
    await b.offerTo(target);
    await expectWhole(target);
    expect(target.bytes).toBeLessThan(DATA * 1.02);
  });

  it.each(['the agent of the peer', 'the server behind the agent of the peer'])(
    'cuts off %s when it falls silent',
    async (who) => {
      const [target, a, b] = [await startTarget(), await startSource('host-a'), await startSource('host-b')];
      await a.offerTo(target);
      await target.reached(DATA * 0.3);
      const from = target.events.length;
      const stopped = who.startsWith('the agent') ? a.host.process : a.nbd;
      stopped.kill('SIGSTOP');
      await target.event('needs', 20_000, from);
      await b.offerTo(target);
      await expectWhole(target);
      expect(target.bytes).toBeLessThan(DATA * 1.02);
    },
  );

  it.each(['killed', 'stopped'])(
    'goes on after the agent that fetches was %s, with the same storage daemon',
    async (how) => {
      const [first, a] = [await startTarget(), await startSource('host-a')];
      await a.offerTo(first);
      await first.reached(DATA * 0.3);
      if (how === 'killed') await first.kill();
      else {
        first.send({ stop: true });
        await first.event('error');
      }
      const survivors = await daemons();
      expect(survivors.length).toBeGreaterThan(0);
      const second = await startTarget();
      await second.event('needs');
      expect(await daemons()).toEqual(survivors);
      await a.offerTo(second);
      await expectWhole(second);
      expect(first.bytes + second.bytes).toBeLessThan(DATA * 1.02 + UNDER_WAY);
    },
  );

  it('goes on after the storage daemon was killed', async () => {
    const [target, a] = [await startTarget(), await startSource('host-a')];
    await a.offerTo(target);
    await target.reached(DATA * 0.6);
    await killDaemons(join(dir, 'data'));
    await expectWhole(target);
    expect(target.bytes).toBeLessThan(DATA * 1.02 + CHECKPOINT_SLACK);
  });

  it('goes on after agent and storage daemon were killed', async () => {
    const [first, a] = [await startTarget(), await startSource('host-a')];
    await a.offerTo(first);
    await first.reached(DATA * 0.6);
    await first.kill();
    await killDaemons(join(dir, 'data'));
    const second = await startTarget();
    await a.offerTo(second);
    await expectWhole(second);
    expect(first.bytes + second.bytes).toBeLessThan(DATA * 1.02 + CHECKPOINT_SLACK);
    expect(second.bytes).toBeLessThan(DATA * 0.9);
  });

  it('keeps the half copy when cancelled, and removes it when dropped', async () => {
    const [first, a] = [await startTarget(), await startSource('host-a')];
    await a.offerTo(first);
    await first.reached(DATA * 0.5);
    first.send({ cancel: true });
    expect((await first.event('error'))['error']).toBe('CANCELLED');
    expect(await daemons()).toEqual([]);
    expect((await stat(cachePath())).blocks * 512).toBeGreaterThan(DATA * 0.3);
    await (await startTarget({ work: 'drop' })).event('dropped');
    await expectNothingLeft();
  });

  it('can be cancelled while it waits for a first source', async () => {
    const target = await startTarget();
    await target.event('needs');
    await until('a daemon waits for it', async () => (await daemons()).length > 0);
    const from = systemClock.monotonic();
    target.send({ cancel: true });
    expect((await target.event('error'))['error']).toBe('CANCELLED');
    // a daemon that waits hears no SIGTERM, which would cost five seconds
    expect(systemClock.monotonic() - from).toBeLessThan(4_500);
    expect(await daemons()).toEqual([]);
  });

  it('is refused when other data arrives than was promised', async () => {
    const [target, a] = [await startTarget(), await startSource('host-a', { path: other, ...FAST })];
    await a.offerTo(target);
    expect((await target.event('error', 60_000))['error']).toBe('DIGEST_MISMATCH');
    await expectNothingLeft();
  });

  it('goes on with another peer when the first cannot read its disk', async () => {
    // qemu-nbd answers a failed read by closing the connection; with requests unread in it, the kernel breaks it off
    const broken = `driver=blkdebug,image.driver=qcow2,image.file.driver=file,image.file.filename=${image}`;
    const rule = 'inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.errno=5';
    const opts = [broken, rule, `inject-error.0.sector=${SIZE / 2 / 512}`].join(',');
    const [target, a] = [await startTarget(), await startSource('host-a', { opts })];
    await a.offerTo(target);
    await until('the loss', () =>
      target.events.some((e) => e['needs'] === true && /closed the|broke the/.test(String(e['why']))),
    );
    await (await startSource('host-b')).offerTo(target);
    await expectWhole(target);
    expect(target.bytes).toBeLessThan(DATA * 1.02);
  });

  it('fails when the source answers but does not have the image', async () => {
    const [target, a] = [await startTarget(), await startSource('host-a', { exportName: 'another' })];
    // whichever side of a refusal hangs up first: a source that does counts as lost, and is offered again; the end may
    // come while it is
    const ended = (): boolean => target.events.some((e) => e['error']);
    while (!ended()) {
      await a.offerTo(target);
      const seen = target.events.length;
      await until('an end or a need', () => ended() || target.events.slice(seen).some((e) => e['needs']), 30_000);
    }
    expect((await target.event('error'))['error']).toBe('PEER_UNAVAILABLE');
    expect(await daemons()).toEqual([]);
  });

  it('ends with DISK_FULL when the disk fills up, and leaves nothing behind when dropped', async () => {
    const cache = join(dir, 'data/cache');
    await execa('mkdir', ['-p', cache]);
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', cache]);
    cleanups.push(() => execa('umount', [cache]));
    const [target, a] = [await startTarget(), await startSource('host-a', FAST)];
    await a.offerTo(target);
    expect((await target.event('error'))['error']).toBe('DISK_FULL');
    expect(await daemons()).toEqual([]);
    await (await startTarget({ work: 'drop' })).event('dropped');
    await expectNothingLeft();
  });
});

async function expectNothingLeft(): Promise<void> {
  for (const folder of ['cache', 'images']) expect(await readdir(join(dir, 'data', folder))).toEqual([]);
  expect((await readdir(join(dir, 'data/run'))).filter((n) => n.startsWith('fetch-'))).toEqual([]);
  expect(await daemons()).toEqual([]);
}
