/** Volumes that come from another host, over real TLS: with a ticket for one volume, whole or not at all, anew after a break. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { createLog } from '@berth/shared/log/log.ts';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { makeCa } from '@berth/test/harness/pki.ts';
import type { VolumeFile } from '../drivers/volume-work.ts';
import { createSimDrivers, type SimDrivers } from '../drivers/sim/sim-drivers.ts';
import { Ledger } from '../operations/ledger.ts';
import { Operations } from '../operations/operations.ts';
import type { PeerIdentity } from '../peer/identity.ts';
import { createPeerPort, volumeGrant, type PeerPort } from '../peer/port.ts';
import { receivedVolume, volumeFrames } from '../peer/volume-frames.ts';
import { dialPeer } from '../peer/dial.ts';
import { FROM_BEGINNING, type GoOnFrom } from '../peer/ticket-line.ts';
import { plainPeer } from '../testing/identity.ts';
import { Receives, type ReceiveDeps } from './receives.ts';

const log = createLog('test', 'silent');
const { signal } = new AbortController();
const MIB = 2 ** 20;

async function bytesIn(pieces: AsyncIterable<Piece>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const p of pieces) parts.push(typeof p === 'number' ? Buffer.alloc(p) : p);
  return Buffer.concat(parts);
}

describe('the file of a volume on the wire', () => {
  const file: VolumeFile = {
    ...{ fileBytes: 300_000, allocatedBytes: 100_000 },
    async *pieces() {
      yield Buffer.alloc(70_000, 1);
      yield 200_000;
      yield Buffer.alloc(30_000, 2);
    },
  };
  const sent = async (): Promise<Buffer> => {
    const all: Uint8Array[] = [];
    for await (const b of volumeFrames(file, FROM_BEGINNING, signal)) all.push(b);
    return Buffer.concat(all);
  };
  const cut = (bytes: Buffer, size: number) =>
    Readable.from(
      (function* () {
        for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
      })(),
    );
  const received = async (bytes: Buffer, size = 1_000): Promise<Buffer> =>
    bytesIn((await receivedVolume(cut(bytes, size), systemClock, 5_000)).pieces());

  it('comes as it is, however it is cut', async () => {
    const all = Buffer.concat([Buffer.alloc(70_000, 1), Buffer.alloc(200_000), Buffer.alloc(30_000, 2)]);
    for (const size of [7, 1_000, 1e6]) expect((await received(await sent(), size)).equals(all)).toBe(true);
  });

  it('is not taken when it ends early, is changed, says nothing more, or makes no sense', async () => {
    const good = await sent();
    for (const end of [0, 10, 50, 30_000, good.length - 1])
      await expect(received(good.subarray(0, end))).rejects.toMatchObject({ reason: 'PEER_UNAVAILABLE' });
    const short = Buffer.concat([Buffer.from('{"fileBytes":9,"allocatedBytes":9,"offset":0}\nE'), Buffer.alloc(32)]);
    await expect(received(short)).rejects.toThrow('is shorter than was said');
    for (const odd of [
      '{}\n',
      '{"fileBytes":1,"allocatedBytes":1}\nX',
      '{"fileBytes":1,"allocatedBytes":1,"offset":2}\nX',
      '{"fileBytes":1,"allocatedBytes":1,"offset":0,"origin":"../x"}\nX',
      '{"fileBytes":-1,"allocatedBytes":0}\n',
      `${'x'.repeat(999)}\n`,
      '{"fileBytes":1,"allocatedBytes":1,"offset":0}\nX',
    ])
      await expect(received(Buffer.from(odd))).rejects.toMatchObject({ reason: 'PEER_UNAVAILABLE' });
    const line = '{"fileBytes":1048576,"allocatedBytes":1,"offset":0}\n';
    const frame = (kind: string, n: number) => {
      const head = Buffer.alloc(kind === 'D' ? 5 : 9, kind);
      if (kind === 'D') head.writeUInt32BE(n, 1);
      else head.writeBigUInt64BE(BigInt(n), 1);
      return Buffer.concat([head, Buffer.alloc(kind === 'D' ? n : 0)]);
    };
    for (const longer of [
      frame('D', 2 ** 20 + 1),
      frame('Z', 2 ** 50),
      Buffer.concat([frame('Z', 2 ** 20), frame('D', 1)]),
    ])
      await expect(received(Buffer.concat([Buffer.from(line), longer]), 1e6)).rejects.toThrow(
        'is longer than was said',
      );
    for (const crumb of [frame('D', 0), frame('Z', 0), frame('D', 1)])
      await expect(
        received(Buffer.concat([Buffer.from(line), ...Array<Buffer>(2_000).fill(crumb)]), 1e6),
      ).rejects.toThrow('makes no sense');
    const waits = Buffer.concat([Buffer.from(line), Buffer.alloc(2_000, 'W')]);
    await expect(received(waits, 1e6)).rejects.toThrow('makes no sense');
    const silent = new Readable({ read: () => undefined });
    await expect(receivedVolume(silent, systemClock, 20)).rejects.toThrow('has said nothing');
  });
});

describe('the rest of a file', () => {
  const bytes = randomBytes(3_000);
  const of = (origin: string): VolumeFile => ({
    ...{ fileBytes: bytes.length, allocatedBytes: bytes.length, origin },
    async *pieces(_signal, offset = 0) {
      yield bytes.subarray(offset);
    },
  });
  const asked = async (from: GoOnFrom) => {
    const frames = volumeFrames(of('ab'.repeat(8)), from, signal);
    const volume = await receivedVolume(Readable.from(frames), systemClock, 5_000);
    return { offset: volume.offset, came: await bytesIn(volume.pieces()), sha256: volume.sha256() };
  };

  it('is all that comes to who has the beginning of it, with the hash of the whole; of another file all comes', async () => {
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const rest = await asked({ offset: 1_000, origin: 'ab'.repeat(8) });
    expect(rest).toEqual({ offset: 1_000, came: bytes.subarray(1_000), sha256 });
    expect(await asked({ offset: bytes.length, origin: 'ab'.repeat(8) })).toMatchObject({
      came: Buffer.alloc(0),
      sha256,
    });
    for (const from of [
      FROM_BEGINNING,
      { offset: 1_000, origin: 'cd'.repeat(8) },
      { offset: 1_000, origin: undefined },
      { offset: bytes.length + 1, origin: 'ab'.repeat(8) },
    ])
      expect(await asked(from)).toEqual({ offset: 0, came: bytes, sha256 });
  });
});

describe('a volume from another host', () => {
  let dir: string;
  let dirs: string[];
  let a: PeerIdentity;
  let b: PeerIdentity;
  const ledgers: Ledger[] = [];
  let port: PeerPort;
  let address: string;
  let hosts: { drivers: SimDrivers; operations: Operations; receives: Receives }[];
  const receivesOf = (deps: Omit<ReceiveDeps, 'clock' | 'uploads'>) =>
    new Receives({ ...deps, clock: systemClock, uploads: { keep: async () => undefined } });
  beforeAll(async () => {
    const ca = await makeCa();
    a = plainPeer(await ca.transfer('host-a'));
    b = plainPeer(await ca.transfer('host-b'));
  });
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'berth-receive-'));
    hosts = [];
    dirs = [];
    for (const [name, identity] of [
      ['a', a],
      ['b', b],
    ] as const) {
      const own = await mkdtemp(join(dir, name));
      dirs.push(own);
      const drivers = createSimDrivers({ name, runDir: own, clock: systemClock });
      const ledger = await Ledger.open(own, { clock: systemClock, log });
      ledgers.push(ledger);
      const operations = new Operations(ledger, systemClock, log);
      const { hypervisor, disks } = drivers;
      hosts.push({
        drivers,
        operations,
        receives: receivesOf({ hypervisor, disks, operations, identity }),
      });
    }
    port = createPeerPort({
      ...{ listen: { host: '127.0.0.1', port: 0 }, identity: a, clock: systemClock, log },
      serve: async () => {
        throw new ClusterError('NOT_FOUND', 'no images');
      },
      volume: (id) => hosts[0]!.receives.serve(id),
    });
    address = `127.0.0.1:${(await port.start()).port}`;
    await hosts[0]!.drivers.disks.ensureVolume({
      volumeId: 'volume-1',
      vmId: '',
      imageDigest: undefined,
      sizeBytes: MIB,
    });
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    await port.stop();
    for (const l of ledgers.splice(0)) await l.close();
    await rm(dir, { recursive: true, force: true });
  });
  const offer = (grant: string, id = 'job-1.copy'): boolean => {
    const { ticket } = port.openExport({ digest: grant, peerHostId: 'host-b' });
    return hosts[1]!.receives.offer(id, { peerHostId: 'host-a', address, ticket });
  };
  const spec = { volumeId: 'volume-1', vmId: '', imageDigest: undefined, sizeBytes: MIB, uploadId: 'job-1.copy' };
  const state = (id = 'job-1.copy') => hosts[1]!.operations.get(id);
  const asks = () => vi.waitFor(() => expect(state().needsSource).toBe(true), { timeout: 10_000 });
  const there = () => hosts[1]!.drivers.sim.volumes.has('volume-1');

  it('comes with a ticket for it, asked for again after one that does not do', async () => {
    const { operations, receives } = hosts[1]!;
    await operations.run(receives.receive, 'job-1.copy', spec);
    await asks();
    // of an image, and of another volume
    for (const grant of ['sha256:aa', volumeGrant('volume-2'), 'sha256:aa']) {
      await vi.waitFor(() => expect(offer(grant)).toBe(true), { timeout: 10_000 });
      expect(there()).toBe(false);
    }
    await vi.waitFor(() => expect(offer(volumeGrant('volume-1'))).toBe(true), { timeout: 10_000 });
    await vi.waitFor(() => expect(state().state).toBe('succeeded'), { timeout: 10_000 });
    expect(there()).toBe(true);
    expect(offer(volumeGrant('volume-1'))).toBe(false);
    expect(await operations.run(receives.receive, 'job-2.copy', spec)).toMatchObject({
      state: expect.stringMatching(/running|succeeded/) as string,
    });
    await vi.waitFor(() => expect(state('job-2.copy').state).toBe('succeeded'), { timeout: 10_000 });
  });

  it('is given to a peer that does not go when it has all no longer than to one that reads nothing', async () => {
    await port.stop();
    port = createPeerPort({
      ...{ listen: { host: '127.0.0.1', port: 0 }, identity: a, clock: systemClock, log, limits: { idleMs: 50 } },
      serve: async () => '',
      volume: (id) => hosts[0]!.receives.serve(id),
    });
    address = `127.0.0.1:${(await port.start()).port}`;
    const { ticket } = port.openExport({ digest: volumeGrant('volume-1'), peerHostId: 'host-b' });
    const options = { identity: b, clock: systemClock, timeoutMs: 10_000, signal, stream: 'volume' } as const;
    const socket = await dialPeer({ peerHostId: 'host-a', address, ticket }, options);
    socket.pause();
    socket.on('error', () => undefined);
    const sockets = Reflect.get(port, 'sockets') as Set<unknown>;
    await vi.waitFor(() => expect(sockets.size).toBe(1), { timeout: 10_000 });
    await vi.waitFor(() => expect(sockets.size).toBe(0), { timeout: 10_000 });
    socket.destroy();
  });

  it('is given as what was made of it, with a ticket for that', async () => {
    const { drivers, receives, operations } = hosts[1]!;
    const bytes = emptyQcow2(MIB);
    hosts[0]!.drivers.sim.uploads.set('job-1.flatten.file', bytes);
    const install = vi.spyOn(drivers.disks.work, 'install');
    await operations.run(receives.receive, 'job-1.copy', spec);
    await asks();
    offer(volumeGrant('volume-1', 'job-1.flatten.file'));
    await vi.waitFor(() => expect(state().state).toBe('succeeded'), { timeout: 10_000 });
    expect((await bytesIn(install.mock.calls[0]![1].pieces(signal))).equals(bytes)).toBe(true);
  });

  it('is not given while it is a vm’s, and nothing stays of one that is cancelled', async () => {
    await hosts[0]!.drivers.disks.work.assign('volume-1', { from: '', to: 'vm-1' });
    await expect(hosts[0]!.receives.serve({ volumeId: 'volume-1', exportId: '' })).rejects.toMatchObject({
      reason: 'IN_USE',
    });
    const { operations, receives } = hosts[1]!;
    await operations.run(receives.receive, 'job-1.copy', spec);
    await asks();
    expect((await operations.cancel('job-1.copy')).state).toBe('cancelled');
    expect(there()).toBe(false);
  });

  describe('that breaks off', () => {
    const bytes = randomBytes(MIB);
    /** At which byte it was asked for. */
    let asked: number[];
    /** What the connections do, one after the other: so many bytes, then they break off. Then it comes to its end. */
    let breaks: number[];
    let origin: string;
    let installed: Buffer;
    beforeEach(async () => {
      [asked, breaks, origin] = [[], [], 'ab'.repeat(8)];
      await port.stop();
      port = createPeerPort({
        ...{ listen: { host: '127.0.0.1', port: 0 }, identity: a, clock: systemClock, log },
        serve: async () => '',
        volume: async () => ({
          ...{ fileBytes: MIB, allocatedBytes: MIB, origin },
          async *pieces(_signal, offset) {
            // without one it is read for the hash
            if (offset === undefined) return yield bytes;
            asked.push(offset);
            const most = breaks.shift() ?? MIB;
            for (let at = offset; at < Math.min(MIB, offset + most); at += 65_536)
              yield bytes.subarray(at, at + 65_536);
            if (offset + most < MIB) throw new Error('the agent was killed');
          },
        }),
      });
      address = `127.0.0.1:${(await port.start()).port}`;
      const { work } = hosts[1]!.drivers.disks;
      const install = work.install.bind(work);
      vi.spyOn(work, 'install').mockImplementation(async (what, file, job) => {
        installed = await bytesIn(file.pieces(signal));
        await install(what, { ...file, pieces: () => Readable.from([installed]) }, job);
      });
    });
    const offers = () => vi.waitFor(() => expect(offer(volumeGrant('volume-1'))).toBe(true), { timeout: 10_000 });
    const ended = () => vi.waitFor(() => expect(state().state).toBe('succeeded'), { timeout: 10_000 });
    const raw = { format: 'raw' } as const;

    it.each(['', 'pool-1'])('goes on at the byte where it broke off, in pool %j', async (poolId) => {
      breaks = [3 * 65_536, 65_536, 0];
      const { operations, receives } = hosts[1]!;
      const progress: number[] = [];
      operations.subscribe((view) => progress.push(view.doneBytes));
      await operations.run(receives.receive, 'job-1.copy', { ...spec, ...raw, ...(poolId && { poolId }) });
      for (let i = 0; i < 4; i++) await offers();
      await ended();
      expect(asked).toEqual([0, 3 * 65_536, 4 * 65_536, 4 * 65_536]);
      expect(installed.equals(bytes)).toBe(true);
      expect(progress).toEqual([...progress].sort((x, y) => x - y));
    });

    it('goes on after a restart of the agent that gets it', async () => {
      breaks = [5 * 65_536];
      const { operations, receives, drivers } = hosts[1]!;
      await operations.run(receives.receive, 'job-1.copy', { ...spec, ...raw });
      await offers();
      await vi.waitFor(() => expect(drivers.sim.coming.get('job-1.copy')?.bytes.length).toBe(5 * 65_536), {
        timeout: 10_000,
      });
      await operations.stop();
      await ledgers[1]!.close();
      const ledger = await Ledger.open(dirs[1]!, { clock: systemClock, log });
      ledgers[1] = ledger;
      const next = new Operations(ledger, systemClock, log);
      const { hypervisor, disks } = drivers;
      hosts[1] = {
        drivers,
        operations: next,
        receives: receivesOf({ hypervisor, disks, operations: next, identity: b }),
      };
      await next.recover();
      await offers();
      await ended();
      expect(asked).toEqual([0, 5 * 65_536]);
      expect(installed.equals(bytes)).toBe(true);
      expect(drivers.sim.uploads.size + drivers.sim.coming.size).toBe(0);
    });

    it.each(['', 'pool-1'])('comes anew when it was written to since, in pool %j', async (poolId) => {
      breaks = [3 * 65_536];
      const { operations, receives } = hosts[1]!;
      await operations.run(receives.receive, 'job-1.copy', { ...spec, ...raw, ...(poolId && { poolId }) });
      await offers();
      await vi.waitFor(() => expect(asked).toHaveLength(1), { timeout: 10_000 });
      origin = 'cd'.repeat(8);
      await offers();
      if (poolId) await vi.waitFor(() => expect(asked).toHaveLength(2), { timeout: 10_000 });
      if (poolId) await offers();
      await ended();
      expect(asked.at(-1)).toBe(0);
      expect(installed.equals(bytes)).toBe(true);
    });

    it('comes anew when the whole is not what was sent, and not for ever', async () => {
      const { operations, receives, drivers } = hosts[1]!;
      await operations.run(receives.receive, 'job-1.copy', { ...spec, ...raw });
      breaks = [65_536];
      await offers();
      await vi.waitFor(() => expect(drivers.sim.coming.size).toBe(1), { timeout: 10_000 });
      drivers.sim.coming.set('job-1.copy', { origin, bytes: Buffer.alloc(65_536, 1) });
      await offers();
      await asks();
      await offers();
      await ended();
      expect(asked).toEqual([0, 65_536, 0]);
      expect(installed.equals(bytes)).toBe(true);
    });
  });
});
