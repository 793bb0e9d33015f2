import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Disks, FetchWork, ImageSeen } from '../../disks.ts';
import type { AllDisks } from '../../volume-work.ts';
import { createDisks } from '../disks.ts';
import { connectNbd, type NbdClient } from '../disks/nbd-client.ts';
import { describeReal, exec, stopHelpers, tempDir, work } from '../fixture/real.ts';

const MIB = 2 ** 20;
const SIZE = 40 * MIB;
const clock = systemClock;
const log = createLog('test', 'silent');

/** What is between the host that fetches and those that have the image: a test decides who is behind it. */
class Middle {
  bytes = 0;
  /** Undefined: connections are held. */
  to: string | undefined;
  readonly blamed: string[] = [];
  private readonly held = new Set<Socket>();
  private readonly all = new Set<Socket>();
  private readonly server = createServer((s) => this.accept(s));
  private readonly hashServer = createServer((s) => void this.giveHashes(s));

  constructor(
    readonly dir: string,
    private readonly hashes: () => Promise<Buffer>,
  ) {}

  readonly path = (): string => join(this.dir, 'm');
  readonly hashesPath = (): string => join(this.dir, 'h');

  async listen(): Promise<void> {
    await new Promise<void>((done) => this.server.listen(this.path(), done));
    await new Promise<void>((done) => this.hashServer.listen(this.hashesPath(), done));
  }

  lead(to: string | undefined): void {
    this.to = to;
    for (const s of this.all) s.destroy();
    const held = [...this.held];
    this.held.clear();
    if (to !== undefined) for (const s of held) this.accept(s);
  }

  /** Nothing comes any more, and nothing is closed. */
  freeze(is: boolean): void {
    for (const s of this.all) {
      if (is) s.pause();
      else s.resume();
    }
  }

  close(): void {
    this.lead(undefined);
    for (const s of this.held) s.destroy();
    this.server.close();
    this.hashServer.close();
  }

  private accept(near: Socket): void {
    if (this.to === undefined) {
      this.held.add(near);
      near.on('error', () => undefined);
      return;
    }
    const far = connect(this.to);
    for (const s of [near, far]) {
      this.all.add(s);
      s.on('error', () => s.destroy()).on('close', () => {
        this.all.delete(s);
        near.destroy();
        far.destroy();
      });
    }
    far.on('data', (d: Buffer) => (this.bytes += d.length));
    near.pipe(far);
    far.pipe(near);
  }

  private async giveHashes(s: Socket): Promise<void> {
    s.on('error', () => undefined);
    s.end(await this.hashes());
  }
}

describeReal('an image that guests read before it is whole', ['qemu-img', 'qemu-nbd', 'qemu-storage-daemon'], () => {
  let a: Disks;
  let b: AllDisks;
  let dirs: string[];
  let content: Buffer;
  let image: ImageSeen;
  let served: string;
  let middle: Middle;
  let stop: AbortController;
  let fetching: Promise<ImageSeen>;
  const clients: NbdClient[] = [];

  beforeEach(async () => {
    const dir = tempDir();
    dirs = [join(dir, 'a'), join(dir, 'b')];
    for (const d of dirs) await mkdir(d);
    const open = (dataDir: string): AllDisks => createDisks({ dataDir, unprivilegedUser: 'nobody', clock, log });
    [a, b] = [open(dirs[0]!), open(dirs[1]!)];
    content = Buffer.concat([randomBytes(30 * MIB), Buffer.alloc(10 * MIB)]);
    image = await imported(a, content);
    served = await a.serveImage(image.digest);
    middle = new Middle(dir, () => a.imageHashes(image.digest));
    await middle.listen();
    stop = new AbortController();
  });
  afterEach(async () => {
    stop.abort();
    for (const c of clients.splice(0)) c.close();
    await fetching?.catch(() => undefined);
    middle.close();
    for (const d of dirs) await stopHelpers(d);
  });

  async function imported(disks: Disks, bytes: Buffer): Promise<ImageSeen> {
    const sink = await disks.openUpload('u', bytes.length);
    for (let at = 0; at < bytes.length; at += MIB) await sink.write(bytes.subarray(at, at + MIB));
    await sink.finish();
    return disks.importImage('u', 'raw', work);
  }

  function fetchToB(over: Partial<FetchWork> = {}): void {
    const own = { signal: stop.signal, onProgress: () => undefined, hashesSocket: middle.hashesPath() };
    const blame = (why: string): void => {
      middle.blamed.push(why);
      middle.lead(undefined);
    };
    fetching = b.fetchImage(image, middle.path(), { ...own, blame, ...over });
    fetching.catch(() => undefined);
  }

  const clone = (volumeId: string): Promise<void> =>
    b.ensureVolume({ volumeId, vmId: 'vm-1', imageDigest: image.digest, sizeBytes: SIZE, instant: true });

  async function guest(): Promise<NbdClient> {
    await b.openBase(image.digest);
    const socketPath = b.baseSocket(image.digest);
    const nbd = await connectNbd({ socketPath, exportName: 'base', clock, timeoutMs: 60_000 });
    clients.push(nbd);
    return nbd;
  }

  const isRight = async (nbd: NbdClient, at: number, length: number): Promise<boolean> =>
    (await nbd.read(at, length)).equals(content.subarray(at, at + length));

  it('has volumes on it and is read as soon as its copy begins, and is whole in the end, with each byte fetched once', async () => {
    fetchToB();
    await clone('v-1');
    await clone('v-2');
    expect(await b.findVolume('v-1')).toMatchObject({ filling: true, imageDigest: image.digest });
    const reader = await guest();
    const read = isRight(reader, 17 * MIB + 512, 3 * MIB);
    middle.lead(served);
    expect(await read).toBe(true);
    // who reads when the daemon ends connects again
    await vi.waitFor(async () => expect(await isRight(await guest(), 29 * MIB, 10 * MIB)).toBe(true), {
      timeout: 15_000,
    });
    expect(await fetching).toMatchObject({ digest: image.digest });
    expect(middle.bytes).toBeLessThan(30.2 * MIB);
    expect((await b.findVolume('v-1'))?.filling).toBeUndefined();
    // those who were there go on, by the file
    expect(await isRight(await guest(), 0, 4 * MIB)).toBe(true);
    await b.endBase(image.digest);
    expect(await b.hasBase(image.digest)).toBe(false);
  });

  it('gives no guest a byte that does not fit its hash, whoever it comes from', async () => {
    const [lie, liar] = [Buffer.from(content), join(tempDir(), 'd')];
    lie[20 * MIB] = lie[20 * MIB]! ^ 1;
    await mkdir(liar);
    const c = createDisks({ dataDir: liar, unprivilegedUser: 'nobody', clock, log });
    const wrong = await imported(c, lie);
    fetchToB();
    await clone('v-1');
    const reader = await guest();
    middle.lead(await c.serveImage(wrong.digest));
    const read = isRight(reader, 20 * MIB, MIB);
    await vi.waitFor(() => expect(middle.blamed.join()).toContain('does not fit its hash'), { timeout: 10_000 });
    middle.lead(served);
    expect(await read).toBe(true);
    expect(await fetching).toMatchObject({ digest: image.digest });
  });

  it('fails what a guest reads after some seconds without a source, and gives it when there is one', async () => {
    fetchToB();
    await clone('v-1');
    const reader = await guest();
    const from = clock.monotonic();
    // QEMU's server ends the connection of whoever it cannot answer; his QEMU connects again
    await expect(reader.read(8 * MIB, 4_096)).rejects.toThrow();
    expect(clock.monotonic() - from).toBeGreaterThan(4_000);
    expect(await b.isBaseServed(image.digest)).toBe(false);
    middle.lead(served);
    await vi.waitFor(async () => expect(await isRight(await guest(), 8 * MIB, 4_096)).toBe(true), { timeout: 20_000 });
    await fetching;
  }, 40_000);

  it('comes back at the same place when its daemon is killed, and keeps what has arrived', async () => {
    fetchToB();
    await clone('v-1');
    const before = await guest();
    middle.lead(served);
    expect(await isRight(before, 0, MIB)).toBe(true);
    middle.lead(undefined);
    for (const pid of await daemons(dirs[1]!)) process.kill(pid, 'SIGKILL');
    await vi.waitFor(() => expect(before.ended).toBe(true), { timeout: 10_000 });
    middle.lead(served);
    await vi.waitFor(async () => expect(await isRight(await guest(), 4 * MIB, MIB)).toBe(true), { timeout: 20_000 });
    expect(await fetching).toMatchObject({ digest: image.digest });
  }, 40_000);

  it('is fetched anew after the host was started again in the middle, because nobody knows what of it was written', async () => {
    fetchToB();
    await clone('v-1');
    const before = await guest();
    middle.lead(served);
    expect(await isRight(before, 8 * MIB, MIB)).toBe(true);
    middle.lead(undefined);
    stop.abort(new ClusterError('HOST_UNREACHABLE', 'the agent ends'));
    await fetching.catch(() => undefined);
    for (const pid of await daemons(dirs[1]!)) process.kill(pid, 'SIGKILL');
    const [name] = (await readdir(join(dirs[1]!, 'cache'))).filter((n) => n.endsWith('.qcow2'));
    const path = join(dirs[1]!, 'cache', name!);
    const copy = readFileSync(path);
    const at = copy.indexOf(content.subarray(8 * MIB, 8 * MIB + 4_096));
    expect(at).toBeGreaterThan(0);
    await writeFile(path, copy.fill(0, at, at + 4_096)); // noted, and never written
    b = createDisks({ dataDir: dirs[1]!, unprivilegedUser: 'nobody', clock, log, bootId: async () => 'the next' });
    stop = new AbortController();
    fetchToB();
    const after = vi.waitFor(guest, { timeout: 15_000 });
    middle.lead(served);
    expect(await isRight(await after, 8 * MIB, MIB)).toBe(true);
    expect(await fetching).toMatchObject({ digest: image.digest });
  }, 40_000);

  it('passes on what has come while it still comes, checked, and the whole when it is there', async () => {
    fetchToB();
    await vi.waitFor(async () => expect(await b.hasBase(image.digest)).toBe(true));
    expect(await b.isRelayed(image.digest)).toBe(true);
    middle.lead(served);
    const hashes = await b.imageHashes(image.digest);
    expect(hashes.equals(await a.imageHashes(image.digest))).toBe(true);
    const nbd = await connectNbd({ socketPath: await b.serveImage(image.digest), exportName: '', clock });
    clients.push(nbd);
    expect(await isRight(nbd, 28 * MIB, 4 * MIB)).toBe(true);
    // zeros take no room, though they share a chunk with data
    expect((await fetching).fileBytes).toBeLessThan(30.5 * MIB);
    expect(await b.isRelayed(image.digest)).toBe(false);
    expect((await b.imageHashes(image.digest)).equals(hashes)).toBe(true);
  });

  it('keeps a copy that volumes rest on, and drops one without', async () => {
    fetchToB();
    await clone('v-1');
    stop.abort();
    await expect(fetching).rejects.toMatchObject({ reason: 'CANCELLED' });
    await expect(b.dropFetch(image.digest)).rejects.toMatchObject({ reason: 'IN_USE' });
    await b.removeVolume('v-1');
    await b.dropFetch(image.digest);
    expect(await readdir(join(dirs[1]!, 'cache'))).toEqual([]);
    expect(await b.hasBase(image.digest)).toBe(false);
  });

  it('lets no volume rest on what comes from a host that cannot vouch for its parts', async () => {
    const quick = vi.fn();
    const silent = join(tempDir(), 'none');
    const nobody = createServer((s) => s.end());
    await new Promise<void>((done) => nobody.listen(silent, done));
    fetchToB({ hashesSocket: silent, onProgress: quick });
    await vi.waitFor(async () => expect((await readdir(join(dirs[1]!, 'cache'))).join()).toContain('unchecked'), {
      timeout: 10_000,
    });
    await expect(clone('v-1')).rejects.toMatchObject({ reason: 'UNSUPPORTED' });
    expect(await b.listVolumes()).toEqual([]);
    middle.lead(served);
    expect(await fetching).toMatchObject({ digest: image.digest });
    nobody.close();
  });

  it('moves a volume to a second file and back to a first one, each in one step, and says when there are two', async () => {
    fetchToB();
    middle.lead(served);
    await fetching;
    await clone('v-1');
    await b.finishMove('v-1');
    const [own, second] = [b.volumePath('v-1', false), b.movedPath('v-1')];
    const read = (file: string): string => readFileSync(file, 'utf8');
    expect(await b.beginMove('v-1', own)).toBe(second);
    expect([await b.isMoving('v-1'), await b.hasTwoFiles('v-1')]).toEqual([true, true]);
    const overlay = read(second);
    expect(await b.beginMove('v-1', second)).toBe(own);
    expect(read(own)).toBe(overlay);
    await writeFile(second, 'newer');
    await b.finishMove('v-1');
    await b.finishMove('v-1');
    expect([await b.isMoving('v-1'), await b.hasTwoFiles('v-1')]).toEqual([true, false]);
    await b.endMove('v-1');
    await b.endMove('v-1');
    expect([await b.isMoving('v-1'), await b.hasTwoFiles('v-1'), read(own)]).toEqual([false, false, 'newer']);
    await b.removeVolume('v-1');
    expect(await readdir(join(dirs[1]!, 'volumes'))).toEqual([]);
  });
});

async function daemons(dataDir: string): Promise<number[]> {
  const { stdout } = await exec.run('pgrep', ['-f', `qemu-storage-daemon.*${dataDir}`], { okCodes: [1] });
  return stdout.split('\n').filter(Boolean).map(Number);
}
