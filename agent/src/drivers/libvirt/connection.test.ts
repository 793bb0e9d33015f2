import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Connection } from './connection.ts';
import { dial } from './dial.ts';
import { FakeLibvirtd, Refusal, SILENCE } from './fake-libvirtd.ts';
import type { Client } from './fake-libvirtd.ts';
import { encodeMessage, KEEPALIVE, PROGRAM, TYPE } from './frame.ts';
import { EVENT, PROC } from './procedures.ts';
import { encode } from './xdr.ts';

const UUID = '11111111-2222-4333-8444-555555555555';
let server: FakeLibvirtd;
const open: Connection[] = [];

beforeEach(async () => void (server = await new FakeLibvirtd().listen()));
afterEach(async () => {
  for (const c of open.splice(0)) c.close('test over');
  await server.dispose();
});

async function connect(more: Partial<Parameters<typeof dial>[0]> = {}): Promise<Connection> {
  const c = await dial({ socketPath: server.socketPath, uri: 'qemu:///system', clock: systemClock, ...more });
  open.push(c);
  return c;
}
const onlyClient = (): Client => [...server.clients][0] as Client;

describe('opening a connection', () => {
  it('lists ways to authenticate, switches keepalive on, and opens', async () => {
    await connect();
    expect(server.calls).toEqual(['AUTH_LIST', 'CONNECT_SUPPORTS_FEATURE', 'CONNECT_OPEN']);
  });

  it('authenticates through polkit when asked to', async () => {
    server.on(PROC.authList, () => ({ types: [2] }));
    await connect();
    expect(server.calls).toContain('AUTH_POLKIT');
  });

  it('says what to do when libvirt wants SASL', async () => {
    server.on(PROC.authList, () => ({ types: [1] }));
    await expect(connect()).rejects.toMatchObject({ reason: 'PERMISSION_DENIED', message: /SASL.*auth_unix_rw/ });
  });

  it('says that libvirt is not running when the socket is missing, and that nothing was done', async () => {
    const attempt = connect({ socketPath: `${server.dir}/none` });
    await expect(attempt).rejects.toMatchObject({
      reason: 'HYPERVISOR_UNAVAILABLE',
      message: /does not exist; is libvirt installed and running/,
      meta: { phase: 'before-send' },
    });
  });

  it('gives up on a daemon that accepts and then says nothing', async () => {
    server.on(PROC.authList, () => SILENCE);
    await expect(connect({ deadlineMs: 30 })).rejects.toMatchObject({ reason: 'HYPERVISOR_UNAVAILABLE' });
  });
});

describe('calls', () => {
  it('match replies that come out of order', async () => {
    let release: () => void = () => undefined;
    server.on(PROC.version, () => new Promise((resolve) => (release = () => resolve({ version: 1n }))));
    const c = await connect();
    const slow = c.call(PROC.version, undefined, 'be slow');
    expect(await c.call(PROC.libVersion, undefined, 'be quick')).toEqual({ version: 9_000_000n });
    release();
    expect(await slow).toEqual({ version: 1n });
  });

  it('reject with libvirt’s own words and number', async () => {
    server.on(PROC.create, () => {
      throw new Refusal(55, 'domain is already running\nmore that people need not see');
    });
    const c = await connect();
    const call = c.call(PROC.create, { dom: { name: 'web', uuid: UUID, id: -1 }, flags: 0 }, 'start domain web');
    await expect(call).rejects.toMatchObject({
      reason: 'BAD_STATE',
      message: 'libvirt could not start domain web: domain is already running',
      meta: { libvirtCode: '55' },
    });
    expect(c.closedWhy).toBeUndefined();
  });

  it('refuse what the wire cannot carry before anything is sent', async () => {
    const c = await connect();
    await expect(c.call(PROC.define, { xml: 'a\0', flags: 0 }, 'define')).rejects.toMatchObject({
      reason: 'INVALID_ARGUMENT',
    });
    expect(c.closedWhy).toBeUndefined();
  });

  it('are unknown when the connection dies under them, and never sent afterwards', async () => {
    server.on(PROC.version, (_a, client) => {
      client.socket.destroy();
      return SILENCE;
    });
    const c = await connect();
    const pending = c.call(PROC.version, undefined, 'start domain web');
    await expect(pending).rejects.toMatchObject({ reason: 'HYPERVISOR_UNAVAILABLE', meta: { phase: 'unknown' } });
    const after = c.call(PROC.version, undefined, 'start domain web');
    await expect(after).rejects.toMatchObject({ reason: 'HYPERVISOR_UNAVAILABLE', meta: { phase: 'before-send' } });
  });

  it('are unknown when the reply makes no sense', async () => {
    server.on(PROC.version, (_a, client, serial) => {
      server.send(client, { type: TYPE.reply, procedure: 4, serial, status: 0 }, Buffer.alloc(4));
      return SILENCE;
    });
    const c = await connect();
    await expect(c.call(PROC.version, undefined, 'ask')).rejects.toMatchObject({ meta: { phase: 'unknown' } });
  });

  it.each([
    [
      'an error that makes no sense',
      (c: Client, s: number) =>
        server.send(c, { type: TYPE.reply, procedure: 4, serial: s, status: 1 }, Buffer.alloc(3)),
    ],
    ['a length that makes no sense', (c: Client) => c.socket.write(Buffer.alloc(8, 0xff))],
  ])('are unknown when libvirt sends %s', async (_name, misbehave) => {
    server.on(PROC.version, (_a, client, serial) => {
      misbehave(client, serial);
      return SILENCE;
    });
    const c = await connect();
    await expect(c.call(PROC.version, undefined, 'ask')).rejects.toMatchObject({ meta: { phase: 'unknown' } });
    expect(c.closedWhy).toMatch(/not its protocol/);
  });

  it('survive replies in fragments', async () => {
    server.on(PROC.capabilities, async (_a, client, serial) => {
      const header = { program: PROGRAM.remote, procedure: 7, type: TYPE.reply, serial, status: 0 };
      const bytes = encodeMessage(header, encode(PROC.capabilities.result, { xml: 'x'.repeat(500) }));
      client.socket.setNoDelay(true);
      for (let at = 0; at < bytes.length; at += 100)
        await new Promise<void>((resolve) =>
          client.socket.write(bytes.subarray(at, at + 100), () => setImmediate(resolve)),
        );
      return SILENCE;
    });
    const c = await connect();
    expect((await c.call(PROC.capabilities, undefined, 'ask')).xml).toHaveLength(500);
  });
});

describe('events', () => {
  it('are heard before the reply of the call that caused them', async () => {
    const heard: string[] = [];
    server.on(PROC.create, () => {
      server.lifecycle(UUID, 2);
      return { dom: { name: 'web', uuid: UUID, id: 1 } };
    });
    const c = await connect({ onEvent: (number) => heard.push(`event ${number}`) });
    await c.call(PROC.registerEvent, { eventId: 0, dom: undefined }, 'register');
    await c
      .call(PROC.create, { dom: { name: 'web', uuid: UUID, id: -1 }, flags: 0 }, 'start')
      .then(() => heard.push('reply'));
    expect(heard).toEqual([`event ${EVENT.lifecycle.number}`, 'reply']);
  });

  it('of other programs and stray replies are ignored', async () => {
    const c = await connect();
    onlyClient().socket.write(
      encodeMessage({ program: 0x20008087, procedure: 6, type: TYPE.message, serial: 0, status: 0 }),
    );
    server.send(onlyClient(), { type: TYPE.reply, procedure: 4, serial: 4_000, status: 0 });
    expect(await c.call(PROC.libVersion, undefined, 'ask')).toEqual({ version: 9_000_000n });
  });
});

/** Real time except for the pings, which the test lets fire. */
function pingClock(): Clock & { tick(): void } {
  const due: (() => void)[] = [];
  return {
    ...systemClock,
    after: (ms, fn) => (ms === 5_000 ? (due.push(fn), { cancel: () => undefined }) : systemClock.after(ms, fn)),
    tick: () => due.splice(0).forEach((fn) => fn()),
  };
}

describe('keepalive', () => {
  it('answers the daemon’s pings', async () => {
    await connect();
    const ping = { program: PROGRAM.keepalive, procedure: KEEPALIVE.ping, type: TYPE.message, serial: 0, status: 0 };
    onlyClient().socket.write(encodeMessage(ping));
    await vi.waitFor(() => expect(server.pongs).toBe(1));
  });

  it('pings a daemon that has said nothing, and keeps a connection whose daemon answers', async () => {
    const clock = pingClock();
    const c = await connect({ clock });
    for (let i = 0; i < 10; i++) {
      const before = onlyClient().seen.length;
      clock.tick(); // what was heard since the last look is sign enough
      clock.tick();
      await vi.waitFor(() => expect(onlyClient().seen.length).toBe(before + 1));
      await c.call(PROC.libVersion, undefined, 'see the pong arrive');
    }
    expect(c.closedWhy).toBeUndefined();
  });

  it('pings nobody where it is told not to', async () => {
    const clock = pingClock();
    const c = await connect({ clock, pingIntervalMs: 0 });
    const before = onlyClient().seen.length;
    for (let i = 0; i < 20; i++) clock.tick();
    await c.call(PROC.libVersion, undefined, 'see all that was sent arrive');
    expect(onlyClient().seen.length).toBe(before + 1);
    expect(c.closedWhy).toBeUndefined();
  });

  it('cuts a daemon that has fallen silent, and says so to who waits', async () => {
    server.answersPings = false;
    server.on(PROC.version, () => SILENCE);
    const clock = pingClock();
    const c = await connect({ clock });
    const pending = c.call(PROC.version, undefined, 'ask').catch((e: unknown) => e);
    for (let i = 0; i < 7; i++) clock.tick();
    expect(c.closedWhy).toBe('libvirt stopped answering');
    expect(await pending).toMatchObject({ reason: 'HYPERVISOR_UNAVAILABLE', meta: { phase: 'unknown' } });
  });
});
