import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock, type Clock } from '@berth/shared/runtime/clock.ts';
import type { DomainStats, Hypervisor, HypervisorEvent } from '../hypervisor.ts';
import { FakeLibvirtd, Refusal, SILENCE } from './fake-libvirtd.ts';
import { PROGRAM } from './frame.ts';
import { createLibvirtHypervisor } from './hypervisor.ts';
import { EVENT, PROC } from './procedures.ts';
import { statsReply } from './stats-reply.fixture.ts';
import type { TypedValue } from './types.ts';

const WEB = '11111111-2222-4333-8444-555555555555';
const DB = '22222222-2222-4333-8444-555555555555';
const [RUNNING, STOPPED] = [1, 5];
const [DEFINED, UNDEFINED, STARTED] = [0, 1, 2];
const log = createLog('test', 'silent');

let server: FakeLibvirtd;
let hypervisor: Hypervisor;
let events: HypervisorEvent[];

beforeEach(async () => {
  server = await new FakeLibvirtd().listen();
  server.domains.set(WEB, { uuid: WEB, name: 'web', state: STOPPED, reason: 1, metadata: '<vm/>' });
  events = [];
});
afterEach(async () => {
  await hypervisor.close();
  await server.dispose();
});

/** How far the monotonic clock has been put forward. */
let aheadMs = 0;

function create(socketPath: string | (() => string) = server.socketPath, clock: Clock = systemClock): Hypervisor {
  hypervisor = createLibvirtHypervisor({
    socketPath,
    clock: { ...clock, monotonic: () => systemClock.monotonic() + aheadMs },
    random: { next: () => 0 },
    log,
  });
  hypervisor.subscribe((e) => events.push(e));
  return hypervisor;
}
const set = (uuid: string, state: number, reason: number): void => {
  const d = server.domains.get(uuid);
  if (d) Object.assign(d, { state, reason });
};
const powers = async (): Promise<string[]> => (await hypervisor.list()).map((d) => `${d.name} ${d.power}`);

describe('connecting', () => {
  it('registers for events, reads every domain once, and then says so', async () => {
    const seen = await create().list();
    expect(seen).toEqual([
      {
        uuid: WEB,
        name: 'web',
        power: 'stopped',
        reason: 'shutdown',
        persistent: true,
        metadataXml: '<vm/>',
        memoryBytes: 67_108_864,
        vcpus: 1,
      },
    ]);
    expect(events.map((e) => e.type)).toEqual(['connected', 'domain']);
    expect(server.calls.filter((c) => c.includes('REGISTER')).length).toBe(Object.keys(EVENT).length);
  });

  it('asks libvirt for no pings, and pings it itself on the first connection only, three times a minute', async () => {
    const due: { readonly ms: number; readonly fn: () => void }[] = [];
    const after = (ms: number, fn: () => void) => {
      if (ms !== 10_000) return systemClock.after(ms, fn);
      due.push({ ms, fn });
      return { cancel: () => undefined };
    };
    await create(server.socketPath, { ...systemClock, after }).list();
    expect(server.calls.filter((c) => c === 'CONNECT_OPEN').length).toBeGreaterThan(1);
    expect(server.calls).not.toContain('CONNECT_SUPPORTS_FEATURE');
    const pings = () =>
      [...server.clients].flatMap((c) => c.seen).filter((m) => m.program === PROGRAM.keepalive).length;
    for (let tens = 1; tens <= 6; tens++) {
      expect(due.length, 'timers of pings').toBe(1);
      due.pop()?.fn();
      // the odd ones have just heard the answer
      await vi.waitFor(() => expect(pings()).toBe(Math.floor(tens / 2)));
      await hypervisor.stats(5_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(server.pongs).toBe(0);
  });

  it('throws "nothing was done" while libvirt is away, and recovers by itself', async () => {
    await server.kill();
    await expect(create().list()).rejects.toMatchObject({
      reason: 'HYPERVISOR_UNAVAILABLE',
      meta: { phase: 'before-send' },
    });
    await server.listen();
    await vi.waitFor(async () => expect(await powers()).toEqual(['web stopped']));
  });

  it('finds a libvirt that comes after the agent, on another socket than was thought of first', async () => {
    let path = '/nonexistent/libvirt-sock';
    await expect(create(() => path).list()).rejects.toMatchObject({ reason: 'HYPERVISOR_UNAVAILABLE' });
    path = server.socketPath;
    await vi.waitFor(async () => expect(await powers()).toEqual(['web stopped']));
  });

  it('reports what changed while libvirt was away', async () => {
    await create().list();
    await server.kill();
    await vi.waitFor(() => expect(events.at(-1)).toMatchObject({ type: 'disconnected' }));
    await expect(hypervisor.list()).rejects.toMatchObject({ reason: 'HYPERVISOR_UNAVAILABLE' });
    server.domains.delete(WEB);
    server.domains.set(DB, { uuid: DB, name: 'db', state: RUNNING, reason: 1 });
    events.length = 0;
    await server.listen();
    await vi.waitFor(() => expect(events).toHaveLength(3));
    expect(events[0]).toEqual({ type: 'connected' });
    expect(events).toContainEqual({ type: 'domain', uuid: WEB, seen: undefined });
    expect(events).toContainEqual(expect.objectContaining({ type: 'domain', uuid: DB }));
    set(DB, STOPPED, 2);
    server.lifecycle(DB, 5);
    await vi.waitFor(async () => expect(await powers()).toEqual(['db stopped']));
  });

  it('takes an old libvirt that lacks an event', async () => {
    server.on(PROC.registerEvent, ({ eventId }, client) => {
      if (eventId > 1) throw new Refusal(8, 'eventID must be less than 2');
      client.events = true;
      return { callbackId: 1 };
    });
    expect(await create().list()).toHaveLength(1);
  });
});

describe('the list', () => {
  it('follows events', async () => {
    await create().list();
    server.domains.set(DB, { uuid: DB, name: 'db', state: STOPPED, reason: 0 });
    server.lifecycle(DB, DEFINED);
    await vi.waitFor(async () => expect(await powers()).toEqual(['web stopped', 'db stopped']));
    set(DB, RUNNING, 1);
    server.lifecycle(DB, STARTED);
    await vi.waitFor(async () => expect(await powers()).toContain('db running'));
    server.domains.delete(DB);
    server.lifecycle(DB, UNDEFINED);
    await vi.waitFor(async () => expect(await powers()).toEqual(['web stopped']));
  });

  it('reads the metadata again when it changed, and not on every event', async () => {
    await create().list();
    const reads = (): number => server.calls.filter((c) => c === 'DOMAIN_GET_METADATA').length;
    expect(reads()).toBe(1);
    server.lifecycle(WEB, STARTED);
    await vi.waitFor(() => expect(server.calls.filter((c) => c === 'DOMAIN_GET_STATE')).toHaveLength(2));
    expect(reads()).toBe(1);
    Object.assign(server.domains.get(WEB) ?? {}, { metadata: '<vm hash="2"/>' });
    const dom = { name: 'web', uuid: WEB, id: -1 };
    server.emit(EVENT.metadata, { callbackId: 1, dom, type: 2, uri: 'urn:berth:vm:1' });
    await vi.waitFor(async () => expect((await hypervisor.list())[0]?.metadataXml).toBe('<vm hash="2"/>'));
  });

  it('answers from what was last seen while libvirt is blocked by a domain that starts', async () => {
    await create().list();
    server.on(PROC.getState, () => SILENCE);
    server.on(PROC.listDomains, () => SILENCE);
    server.lifecycle(WEB, STARTED);
    expect(await powers()).toEqual(['web stopped']);
  });

  it('shows a foreign domain without our metadata', async () => {
    server.domains.set(DB, { uuid: DB, name: 'db', state: RUNNING, reason: 1 });
    expect((await create().list()).find((d) => d.uuid === DB)).toMatchObject({
      metadataXml: undefined,
      power: 'running',
    });
  });
});

describe('verbs', () => {
  const refuse = (code: number) => (): never => {
    throw new Refusal(code, 'no');
  };

  it('shows a started domain as running as soon as start returns', async () => {
    server.on(PROC.create, ({ dom }) => (set(dom.uuid, RUNNING, 1), { dom }));
    await create().start(WEB);
    expect(await powers()).toEqual(['web running']);
  });

  it('starts a running domain twice without complaint, but not a paused one', async () => {
    server.on(PROC.create, refuse(55));
    set(WEB, RUNNING, 1);
    await create().start(WEB);
    set(WEB, 3, 5);
    await expect(hypervisor.start(WEB)).rejects.toMatchObject({ reason: 'BAD_STATE' });
  });

  it('forces off what is stopped or absent without complaint', async () => {
    server.on(PROC.destroy, ({ dom }) => refuse(server.domains.has(dom.uuid) ? 55 : 42)());
    await create().destroy(WEB);
    await hypervisor.destroy(DB);
  });

  it('reports a force-off that libvirt refused while the domain still runs', async () => {
    set(WEB, RUNNING, 1);
    server.on(PROC.destroy, refuse(55));
    await expect(create().destroy(WEB)).rejects.toMatchObject({ reason: 'BAD_STATE' });
  });

  it('never undefines a running domain, which would make it transient', async () => {
    set(WEB, RUNNING, 1);
    await expect(create().undefine(WEB)).rejects.toMatchObject({ reason: 'BAD_STATE', message: /stop it before/ });
    expect(server.calls).not.toContain('DOMAIN_UNDEFINE_FLAGS');
  });

  it('undefines with NVRAM, managed save, snapshots and checkpoints; absent is fine', async () => {
    let flags = 0;
    server.on(PROC.undefine, (args) => {
      flags = args.flags;
      server.domains.delete(args.dom.uuid);
    });
    await create().undefine(WEB);
    expect(flags).toBe(0x17);
    expect(await hypervisor.list()).toEqual([]);
    await hypervisor.undefine(WEB);
  });

  it('says whose name is taken', async () => {
    server.on(PROC.define, refuse(9));
    server.on(PROC.lookupByName, ({ name }) => ({ dom: { name, uuid: WEB, id: -1 } }));
    const xml = `<domain><name>web</name><uuid>${DB}</uuid></domain>`;
    await expect(create().define(xml)).rejects.toMatchObject({ reason: 'ALREADY_EXISTS', message: /named web.*1111/ });
  });

  it('shuts down by ACPI only, and takes "stopped already"', async () => {
    let flags = 0;
    server.on(PROC.shutdown, (args) => {
      flags = args.flags;
      throw new Refusal(55, 'domain is not running');
    });
    await create().shutdown(WEB);
    expect(flags).toBe(1);
  });

  it('is unknown when libvirtd dies in the middle of a start', async () => {
    server.on(PROC.create, async () => {
      await server.kill();
      return SILENCE;
    });
    await expect(create().start(WEB)).rejects.toMatchObject({
      reason: 'HYPERVISOR_UNAVAILABLE',
      meta: { phase: 'unknown' },
    });
  });

  it('forces off while all connections for starts are blocked', async () => {
    server.on(PROC.create, () => SILENCE);
    server.on(PROC.destroy, () => undefined);
    create();
    const starts = Array.from({ length: 12 }, () => hypervisor.start(WEB).catch((e: unknown) => e));
    await vi.waitFor(() => expect(server.calls.filter((c) => c === 'DOMAIN_CREATE_WITH_FLAGS')).toHaveLength(8));
    await hypervisor.destroy(WEB);
    await hypervisor.close();
    await Promise.all(starts);
  });

  it('tells that somebody else reads the console', async () => {
    server.on(PROC.openConsole, refuse(9));
    await expect(create().openConsole(WEB, false)).rejects.toMatchObject({
      reason: 'RESOURCE_BUSY',
      message: /in use by somebody else .* --force$/,
    });
  });
});

describe('statistics', () => {
  const full: readonly [string, TypedValue][] = [
    ['cpu.time', { type: 'ullong', value: 7n }],
    ['balloon.rss', { type: 'ullong', value: 1n }],
  ];
  const record = (uuid: string, complete = true) => ({
    dom: { name: 'x', uuid, id: 1 },
    params: full.slice(0, complete ? 2 : 1).map(([field, value]) => ({ field, value })),
  });
  const uuids = (stats: readonly DomainStats[]): string[] => stats.map((s) => s.uuid).sort();
  let asked: number[];
  let frozen: string | undefined;

  beforeEach(() => {
    asked = [];
    frozen = undefined;
    set(WEB, RUNNING, 1);
    server.domains.set(DB, { uuid: DB, name: 'db', state: RUNNING, reason: 1 });
    server.on(PROC.allStats, ({ doms }) => {
      asked.push(doms.length);
      const wanted = doms.map((d) => d.uuid);
      if (wanted.length > 1 && frozen !== undefined && wanted.includes(frozen)) return SILENCE;
      // While the swallowed bulk call holds the frozen domain, libvirt skips its QEMU and answers at once.
      return { records: statsReply(...wanted.map((uuid) => record(uuid, uuid !== frozen))) };
    });
  });

  it('come in one call', async () => {
    expect(uuids(await create().stats(10_000))).toEqual([WEB, DB]);
    expect(asked).toEqual([2]);
  });

  it('leave out a domain whose QEMU is frozen, from the first call on, and ask in one call again afterwards', async () => {
    frozen = DB;
    expect(uuids(await create().stats(1_000))).toEqual([WEB]);
    asked = [];
    expect(uuids(await hypervisor.stats(10_000))).toEqual([WEB]);
    expect(asked).toEqual([1]);
  });

  it('ask for it again when its power state changes', async () => {
    frozen = DB;
    await create().stats(200);
    frozen = undefined;
    set(DB, 3, 1);
    server.lifecycle(DB, 3);
    await vi.waitFor(async () => expect(uuids(await hypervisor.stats(10_000))).toEqual([WEB, DB]));
  });

  it('find out by themselves that a frozen QEMU is well again', async () => {
    frozen = DB;
    await create().stats(200);
    expect(uuids(await hypervisor.stats(10_000))).toEqual([WEB]);
    frozen = undefined;
    aheadMs += 60_000;
    await vi.waitFor(async () => expect(uuids(await hypervisor.stats(10_000))).toEqual([WEB, DB]));
  });

  it('show when libvirt has ended a domain without a word', async () => {
    await create().stats(10_000);
    set(DB, 5, 6);
    server.on(PROC.allStats, () => ({ records: statsReply(record(WEB)) }));
    expect(uuids(await hypervisor.stats(10_000))).toEqual([WEB]);
    await vi.waitFor(async () =>
      expect((await hypervisor.list()).find((d) => d.uuid === DB)).toMatchObject({
        power: 'stopped',
        reason: 'failed',
      }),
    );
    expect((await hypervisor.list()).find((d) => d.uuid === WEB)).toMatchObject({ power: 'running' });
  });

  it('leave out, for this once, a domain that another operation keeps busy', async () => {
    server.on(PROC.allStats, () => ({ records: statsReply(record(WEB), record(DB, false)) }));
    expect(uuids(await create().stats(1_000))).toEqual([WEB]);
    server.on(PROC.allStats, () => ({ records: statsReply(record(WEB), record(DB)) }));
    expect(uuids(await hypervisor.stats(10_000))).toEqual([WEB, DB]);
  });

  it('throw when libvirt is away', async () => {
    await create().list();
    await server.kill();
    await vi.waitFor(() => expect(events.at(-1)).toMatchObject({ type: 'disconnected' }));
    await expect(hypervisor.stats(100)).rejects.toMatchObject({ reason: 'HYPERVISOR_UNAVAILABLE' });
  });
});
