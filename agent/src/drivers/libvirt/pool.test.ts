import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { dial } from './dial.ts';
import { FakeLibvirtd, SILENCE } from './fake-libvirtd.ts';
import { Pool } from './pool.ts';
import { PROC } from './procedures.ts';

let server: FakeLibvirtd;
let pool: Pool;
let running = 0;
let most = 0;
let release: (() => void)[] = [];

const newPool = (connections: number): Pool =>
  new Pool({
    clock: systemClock,
    connections,
    dial: () => dial({ socketPath: server.socketPath, uri: 'qemu:///system', clock: systemClock }),
  });

beforeEach(async () => {
  server = await new FakeLibvirtd().listen();
  [running, most, release] = [0, 0, []];
  server.on(PROC.version, async () => {
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => release.push(resolve));
    running--;
    return { version: 1n };
  });
});
afterEach(async () => {
  pool.close('test over');
  await server.dispose();
});

const ask = (deadlineMs = 10_000): Promise<unknown> => pool.call(PROC.version, undefined, 'ask', deadlineMs);
const letGo = (): void => release.splice(0).forEach((fn) => fn());
/** Lets every call go until `promise` has settled. */
async function drained<T>(promise: Promise<T>): Promise<T> {
  let settled = false;
  void promise.finally(() => (settled = true));
  await vi.waitFor(() => {
    letGo();
    expect(settled).toBe(true);
  });
  return promise;
}

describe('a pool of connections', () => {
  it('keeps at most four calls in flight on each connection, and queues the rest', async () => {
    pool = newPool(2);
    const all = Promise.all(Array.from({ length: 20 }, () => ask()));
    await vi.waitFor(() => expect(running).toBe(8));
    expect(await drained(all)).toHaveLength(20);
    expect(most).toBe(8);
    expect(server.clients.size).toBe(2);
  });

  it('opens no second connection while the first has room', async () => {
    pool = newPool(2);
    const all = Promise.all([ask(), ask(), ask(), ask()]);
    await vi.waitFor(() => expect(running).toBe(4));
    expect(server.clients.size).toBe(1);
    letGo();
    await all;
  });

  it('gives up on a call at its deadline, and on the connection that it blocks', async () => {
    pool = newPool(1);
    server.on(PROC.libVersion, () => SILENCE);
    const other = ask();
    await vi.waitFor(() => expect(running).toBe(1));
    const late = pool.call(PROC.libVersion, undefined, 'start domain web', 20);
    await expect(late).rejects.toMatchObject({ reason: 'HYPERVISOR_UNAVAILABLE', meta: { phase: 'unknown' } });
    const after = ask();
    await vi.waitFor(() => expect(running).toBe(2)); // on a new connection, the old one still serving its other call
    expect(server.clients.size).toBe(2);
    letGo();
    await Promise.all([other, after]);
    await vi.waitFor(() => expect(server.clients.size).toBe(1));
  });

  it('says that a call which waited in vain for its turn was never sent', async () => {
    pool = newPool(1);
    const blocking = Promise.all([ask(), ask(), ask(), ask()]);
    await vi.waitFor(() => expect(running).toBe(4));
    await expect(ask(20)).rejects.toMatchObject({ meta: { phase: 'before-send' } });
    letGo();
    await blocking;
  });

  it('rejects waiting calls when the daemon dies, and dials again for the next', async () => {
    pool = newPool(1);
    const pending = ask().catch((e: unknown) => e);
    await vi.waitFor(() => expect(running).toBe(1));
    await server.kill();
    expect(await pending).toMatchObject({ meta: { phase: 'unknown' } });
    await expect(ask()).rejects.toMatchObject({ meta: { phase: 'before-send' } });
    await server.listen();
    const again = ask();
    expect(await drained(again)).toEqual({ version: 1n });
  });

  it('refuses calls and wakes the queue when it is closed', async () => {
    pool = newPool(1);
    const calls = Array.from({ length: 6 }, () => ask().catch((e: unknown) => e));
    await vi.waitFor(() => expect(running).toBe(4));
    pool.close('the driver is closed');
    const phases = (await Promise.all(calls)).map((e) => (e as { meta: { phase: string } }).meta.phase);
    expect(phases).toEqual(['unknown', 'unknown', 'unknown', 'unknown', 'before-send', 'before-send']);
  });
});
