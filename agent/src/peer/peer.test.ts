/** The export port and the tunnel against each other, over real TLS and real sockets; what is served here only echoes. */
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { makeCa, type HostTestIdentity, type TestCa } from '@berth/test/harness/pki.ts';
import { until } from '@berth/test/harness/until.ts';
import { readCertificate } from '@berth/shared/trust/certificate.ts';
import { memoryIdentity, plainPeer } from '../testing/identity.ts';
import type { PeerIdentity } from './identity.ts';
import { createPeerPort, type PeerPort, type PeerPortOptions } from './port.ts';
import { createTunnels, type Tunnel, type Tunnels } from './tunnels.ts';

const DIGEST = 'sha256:aa';
const log = createLog('test', 'silent');
let ca: TestCa;
let a: PeerIdentity;
let b: PeerIdentity;
let plainB: HostTestIdentity;
let dir: string;
const cleanups: (() => unknown)[] = [];

beforeAll(async () => {
  ca = await makeCa();
  a = plainPeer(await ca.transfer('host-a'));
  plainB = await ca.transfer('host-b');
  b = plainPeer(plainB);
});
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-peer-'));
});
afterEach(async () => {
  for (const f of cleanups.splice(0).reverse()) await f();
  await rm(dir, { recursive: true, force: true });
});

/** Stands for what serves an image: greets, then echoes, and can be told to say nothing more. */
async function echoServer(name: string): Promise<{ path: string; server: Server; sockets: Set<Socket>; mute(): void }> {
  const sockets = new Set<Socket>();
  const path = join(dir, name);
  let muted = false;
  const server = createServer((s) => {
    sockets.add(s);
    s.on('error', () => s.destroy()).on('close', () => sockets.delete(s));
    if (!muted) s.write('hello\n');
    s.on('data', (d) => muted || s.write(d));
  });
  await new Promise<void>((r) => server.listen(path, r));
  cleanups.push(() => {
    for (const s of sockets) s.destroy();
    server.close();
  });
  return { path, server, sockets, mute: () => void (muted = true) };
}

async function startPort(
  over: Partial<PeerPortOptions> & { serve: PeerPortOptions['serve'] },
): Promise<{ port: PeerPort; address: string }> {
  const port = createPeerPort({
    listen: { host: '127.0.0.1', port: 0 },
    identity: a,
    clock: systemClock,
    log,
    ...over,
  });
  const { port: number } = await port.start();
  cleanups.push(() => port.stop());
  return { port, address: `127.0.0.1:${number}` };
}

const liveIdentity = (p: HostTestIdentity) => memoryIdentity({ hostId: p.hostId, control: p, transfer: p });

interface Opened {
  readonly tunnel: Tunnel;
  readonly needs: [boolean, string][];
  /** Who was read from, one after the other; undefined: nobody. */
  readonly sources: readonly (string | undefined)[];
  readonly tunnels: Tunnels;
}

async function openTunnel(over: { silentMs?: number; identity?: PeerIdentity } = {}): Promise<Opened> {
  const tunnels = createTunnels({
    dir: join(dir, 'tunnels'),
    identity: over.identity ?? b,
    clock: systemClock,
    log,
    ...(over.silentMs === undefined ? {} : { silentMs: over.silentMs }),
    connectMs: 2_000,
  });
  const needs: [boolean, string][] = [];
  const sources: (string | undefined)[] = [];
  const tunnel = await tunnels.open('job-1.fetch', {
    onNeedsSource: (n, why) => void needs.push([n, why]),
    onSource: (hostId) => void sources.push(hostId),
  });
  cleanups.push(() => tunnels.closeAll());
  return { tunnel, needs, sources, tunnels };
}

interface Client {
  readonly socket: Socket;
  text(): string;
  closed(): boolean;
}

function client(path: string): Client {
  const socket = connect({ path });
  let text = '';
  let closed = false;
  socket
    .on('error', () => undefined)
    .on('data', (d) => (text += d.toString()))
    .on('close', () => (closed = true));
  cleanups.push(() => socket.destroy());
  return { socket, text: () => text, closed: () => closed };
}

describe('a tunnel to the export port of another host', () => {
  it('carries bytes both ways and counts what came', async () => {
    const image = await echoServer('image.sock');
    const { port, address } = await startPort({ serve: async () => image.path });
    const { tunnel } = await openTunnel();
    const { ticket } = port.openExport({ digest: DIGEST, peerHostId: 'host-b' });
    tunnel.offer({ peerHostId: 'host-a', address, ticket });
    const c = client(tunnel.socketPath);
    await until('the greeting', () => c.text() === 'hello\n');
    c.socket.write('ping');
    await until('the echo', () => c.text() === 'hello\nping');
    expect(tunnel.bytes()).toBe(10);
  });

  it('holds a connection until a source is offered, and says that it needs one', async () => {
    const image = await echoServer('image.sock');
    const { port, address } = await startPort({ serve: async () => image.path });
    const { tunnel, needs } = await openTunnel();
    const c = client(tunnel.socketPath);
    await until('the need', () => needs.length === 1);
    expect(c.closed()).toBe(false);
    const { ticket } = port.openExport({ digest: DIGEST, peerHostId: 'host-b' });
    tunnel.offer({ peerHostId: 'host-a', address, ticket });
    await until('the greeting', () => c.text() === 'hello\n');
    expect(needs).toEqual([
      [true, 'no host has been offered as a source'],
      [false, ''],
    ]);
  });

  it('forgets a held connection that goes away', async () => {
    const { tunnel, needs } = await openTunnel();
    for (let i = 0; i < 40; i++) {
      const c = client(tunnel.socketPath);
      await until('connected', () => !c.socket.connecting);
      await until('held', () => needs.length === 1);
      c.socket.destroy();
    }
    const image = await echoServer('image.sock');
    const { port, address } = await startPort({ serve: async () => image.path });
    const { ticket } = port.openExport({ digest: DIGEST, peerHostId: 'host-b' });
    const c = client(tunnel.socketPath);
    tunnel.offer({ peerHostId: 'host-a', address, ticket });
    await until('the greeting', () => c.text() === 'hello\n');
  });

  it('lets the same peer come back with the same ticket', async () => {
    const image = await echoServer('image.sock');
    const { port, address } = await startPort({ serve: async () => image.path });
    const { tunnel, needs } = await openTunnel();
    const { ticket } = port.openExport({ digest: DIGEST, peerHostId: 'host-b' });
    tunnel.offer({ peerHostId: 'host-a', address, ticket });
    for (let i = 0; i < 3; i++) {
      const c = client(tunnel.socketPath);
      await until('the greeting', () => c.text() === 'hello\n');
      c.socket.destroy();
      await until('the far end is gone', () => image.sockets.size === 0);
    }
    expect(needs).toEqual([]);
  });

  it('closes the local connection and asks for a source when the peer goes away', async () => {
    const image = await echoServer('image.sock');
    const { port, address } = await startPort({ serve: async () => image.path });
    const { tunnel, needs } = await openTunnel();
    const { ticket } = port.openExport({ digest: DIGEST, peerHostId: 'host-b' });
    tunnel.offer({ peerHostId: 'host-a', address, ticket });
    const c = client(tunnel.socketPath);
    await until('the greeting', () => c.text() === 'hello\n');
    await port.stop();
    await until('closed', () => c.closed());
    await until('the need', () => needs.some(([n, why]) => n && why.startsWith('host-a')));
  });

  it('cuts off a peer that owes an answer, and takes the next one', async () => {
    const first = await echoServer('one.sock');
    const second = await echoServer('two.sock');
    const { port, address } = await startPort({ serve: async (d) => (d === DIGEST ? first.path : second.path) });
    const { tunnel, needs, sources } = await openTunnel({ silentMs: 300 });
    tunnel.offer({ peerHostId: 'host-a', address, ...port.openExport({ digest: DIGEST, peerHostId: 'host-b' }) });
    const c = client(tunnel.socketPath);
    await until('the greeting', () => c.text() === 'hello\n');
    first.mute();
    c.socket.write('ping');
    await until('cut', () => c.closed());
    expect(needs.at(-1)).toEqual([true, 'host-a has not answered for 0.3 s']);
    tunnel.offer({ peerHostId: 'host-a', address, ...port.openExport({ digest: 'other', peerHostId: 'host-b' }) });
    const again = client(tunnel.socketPath);
    await until('the greeting', () => again.text() === 'hello\n');
    expect(sources).toEqual(['host-a', undefined, 'host-a']);
  });

  it('does not blame a peer that has nothing to say', async () => {
    const image = await echoServer('image.sock');
    const { port, address } = await startPort({ serve: async () => image.path });
    const { tunnel, needs } = await openTunnel({ silentMs: 100 });
    tunnel.offer({ peerHostId: 'host-a', address, ...port.openExport({ digest: DIGEST, peerHostId: 'host-b' }) });
    const c = client(tunnel.socketPath);
    await until('the quiet connection is closed', () => c.closed());
    expect(needs).toEqual([]);
    const again = client(tunnel.socketPath);
    await until('the greeting', () => again.text() === 'hello\n');
  });

  it('does not buffer what the reader does not take, and does not blame the peer for it', async () => {
    const path = join(dir, 'flood.sock');
    let sent = 0;
    const flood = createServer((s) => {
      const push = (): void => {
        while (s.write(Buffer.alloc(65_536))) sent += 65_536;
        sent += 65_536;
      };
      s.on('drain', push).on('error', () => s.destroy());
      push();
    });
    await new Promise<void>((r) => flood.listen(path, r));
    cleanups.push(() => flood.close());
    const { port, address } = await startPort({ serve: async () => path });
    const { tunnel, needs } = await openTunnel({ silentMs: 200 });
    tunnel.offer({ peerHostId: 'host-a', address, ...port.openExport({ digest: DIGEST, peerHostId: 'host-b' }) });
    const socket = connect({ path: tunnel.socketPath }).on('error', () => undefined);
    cleanups.push(() => socket.destroy());
    let last = -1;
    let stillSince = 0;
    await until('the flood stands still for longer than the silence allowed', () => {
      if (sent === 0 || sent !== last) stillSince = performance.now();
      last = sent;
      return performance.now() - stillSince > 900;
    });
    expect(sent).toBeLessThan(32 << 20);
    expect(socket.destroyed).toBe(false);
    expect(needs).toEqual([]);
  });

  it('listens at the same path after a restart, also when the old one was killed', async () => {
    const one = await openTunnel();
    const two = await openTunnel();
    expect(two.tunnel.socketPath).toBe(one.tunnel.socketPath);
    await two.tunnel.close();
    await expect(stat(two.tunnel.socketPath)).rejects.toThrow('ENOENT');
  });

  it('refuses an address that is none', async () => {
    const { tunnel } = await openTunnel();
    const offer = (address: string) => () => tunnel.offer({ peerHostId: 'host-a', address, ticket: 't' });
    expect(offer('nowhere')).toThrow('HOST:PORT');
    expect(offer('1.2.3.4:99999')).toThrow('HOST:PORT');
    expect(offer('[::1]:7445')).not.toThrow();
  });
});

describe('a certificate that is revoked', () => {
  it.each(['the side that serves', 'the side that reads'])('ends an open transfer at once, on %s', async (side) => {
    const image = await echoServer('image.sock');
    const plainA = await ca.transfer('host-a');
    const [serving, reading] = [liveIdentity(plainA), liveIdentity(plainB)];
    const { port, address } = await startPort({ serve: async () => image.path, identity: serving });
    const { tunnel, needs } = await openTunnel({ identity: reading });
    const { ticket } = port.openExport({ digest: DIGEST, peerHostId: 'host-b' });
    tunnel.offer({ peerHostId: 'host-a', address, ticket });
    const c = client(tunnel.socketPath);
    await until('the greeting', () => c.text() === 'hello\n');
    const [who, other] = side === 'the side that serves' ? [serving, plainB] : [reading, plainA];
    await who.setTrust({ ...who.trust, revoked: [readCertificate(other.certPem).serial] });
    await until('the cut', () => c.closed());
    const again = client(tunnel.socketPath);
    tunnel.offer({
      peerHostId: 'host-a',
      address,
      ticket: port.openExport({ digest: DIGEST, peerHostId: 'host-b' }).ticket,
    });
    await until('the refusal', () => needs.filter(([n]) => n).length > 1);
    expect(again.text()).toBe('');
  });
});

describe('the export port refuses', () => {
  const short = { limits: { helloMs: 500, ticketTtlMs: 150 } };

  async function refusal(over: { identity?: PeerIdentity; ticket?: string; late?: boolean }): Promise<string> {
    const image = await echoServer('image.sock');
    const { port, address } = await startPort({ serve: async () => image.path, ...short });
    const { ticket, expiresAtMs } = port.openExport({ digest: DIGEST, peerHostId: 'host-b' });
    if (over.late) await until('expiry', () => Date.now() > expiresAtMs);
    const { tunnel, needs } = await openTunnel(over.identity ? { identity: over.identity } : {});
    tunnel.offer({ peerHostId: 'host-a', address, ticket: over.ticket ?? ticket });
    client(tunnel.socketPath);
    const [, why] = await until('the refusal', () => needs.find(([n]) => n));
    expect(image.sockets.size).toBe(0);
    return why;
  }

  it('a wrong ticket', async () => {
    expect(await refusal({ ticket: 'x'.repeat(43) })).toContain('ticket was refused');
  });
  it('an expired ticket', async () => {
    expect(await refusal({ late: true })).toContain('ticket was refused');
  });
  it('the ticket of another host', async () => {
    expect(await refusal({ identity: plainPeer(await ca.transfer('host-c')) })).toContain('ticket was refused');
  });
  it('a certificate of another CA', async () => {
    const foreign = await makeCa('foreign');
    const identity = plainPeer({ ...(await foreign.transfer('host-b')), caPem: plainB.caPem });
    expect(await refusal({ identity })).toContain('host-a at');
  });
  it.each([
    ['of a controller', 'urn:berth:controller:x'],
    ['of a host for its agent port', 'urn:berth:host:host-b'],
  ])('the certificate %s', async (_, uri) => {
    const identity = plainPeer({ hostId: 'host-b', ...(await ca.issue({ uri })), caPem: plainB.caPem });
    expect(await refusal({ identity })).toContain('host-a at');
  });
  it('an expired certificate', async () => {
    const notBefore = new Date(Date.now() - 2e9);
    const old = await ca.transfer('host-b', { notBefore, notAfter: new Date(Date.now() - 1e9) });
    expect(await refusal({ identity: plainPeer(old) })).toContain('host-a at');
  });

  it('TLS without a certificate, and TLS 1.2', async () => {
    const { address } = await startPort({ serve: async () => '' });
    const port = Number(address.split(':')[1]);
    for (const extra of [{}, { maxVersion: 'TLSv1.2' as const, cert: plainB.certPem, key: plainB.keyPem }]) {
      const socket = tlsConnect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...extra });
      let closed = false;
      socket.on('error', () => undefined).on('close', () => (closed = true));
      await until('closed', () => closed);
    }
  });

  it('a peer that sends no line, or too long a line', async () => {
    const { address } = await startPort({ serve: async () => '', ...short });
    const port = Number(address.split(':')[1]);
    for (const say of ['', 'x'.repeat(4096), 'GET / HTTP/1.1\n']) {
      const options = {
        cert: plainB.certPem,
        key: plainB.keyPem,
        ca: plainB.caPem,
        checkServerIdentity: () => undefined,
      };
      const socket = tlsConnect({ host: '127.0.0.1', port, ...options });
      let closed = false;
      let heard = '';
      socket
        .on('error', () => undefined)
        .on('close', () => (closed = true))
        .on('data', (d) => (heard += d.toString()));
      if (say) socket.write(say);
      await until('closed', () => closed);
      expect(heard).toBe('');
    }
  });

  it('connections beyond the limit that have proven nothing, and recovers', async () => {
    const limits = { unprovenPerAddress: 2, helloMs: 400 };
    const { address } = await startPort({ serve: async () => '', limits });
    const port = Number(address.split(':')[1]);
    const sockets = [1, 2, 3, 4].map(() => connect({ host: '127.0.0.1', port }).on('error', () => undefined));
    let closed = 0;
    for (const s of sockets) s.on('close', () => closed++).resume();
    await until('those over the limit are closed', () => closed === 2);
    await until('the others are closed at their deadline', () => closed === 4);
  });

  it('to be taken for another host by the one that reads', async () => {
    const image = await echoServer('image.sock');
    const { port, address } = await startPort({ serve: async () => image.path });
    const { tunnel, needs } = await openTunnel();
    const { ticket } = port.openExport({ digest: DIGEST, peerHostId: 'host-b' });
    tunnel.offer({ peerHostId: 'host-z', address, ticket });
    client(tunnel.socketPath);
    await until('the refusal', () =>
      needs.some(([n, why]) => n && why.includes('not one for transfers from that host')),
    );
  });
});
