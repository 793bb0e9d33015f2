/** GuestService over a real gRPC pair and simulated guests: well, hanging, lying, without an agent; and agents that die. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { GuestStatus, RunInGuestResponse } from '@berth/proto/agent/v1/guest.ts';
import { GuestPowerAction } from '@berth/proto/agent/v1/guest.ts';
import { OperationState } from '@berth/proto/agent/v1/operation.ts';
import { simAgentsOf } from '../drivers/sim/sim-guest-agents.ts';
import { AgentWorld, call, context, fence, watchInto } from '../testing/world.ts';

const EVENTUALLY = { timeout: 30_000, interval: 20 };
const AGENT = 'packages: [qemu-guest-agent]\n';
let w: AgentWorld;
let made = 0;

beforeEach(async () => {
  w = await AgentWorld.start();
  made = 0;
});
afterEach(() => w.end());

/** A VM that runs, with such user data. */
async function guest(userData: string) {
  const n = ++made;
  const ref = { uuid: `6f1c9a52-6f0e-4c7b-9a57-00000000000${n}`, vmId: `vm-${n}` };
  const seed = { instanceId: 'i-1', hostname: `g${n}`, nics: [], sshKeys: [], userData };
  const { domain, volume } = w.clients;
  const seedVolumeId = `volume-${n}`;
  await call(volume, volume.ensureSeed, {
    context: context(`job-${n}.seed`),
    volumeId: seedVolumeId,
    vmId: ref.vmId,
    seed,
  });
  const sizes = { vcpus: 1, memoryBytes: 512n * 2n ** 20n, disks: [], nics: [], generation: 1n };
  const spec = { ...ref, name: `g${n}`, ...sizes, seedVolumeId, hardware: undefined, cdroms: [] };
  await call(domain, domain.ensureDomain, { context: context(`job-${n}.define`), spec } as never);
  await call(domain, domain.startDomain, { context: context(`job-${n}.start`), ...ref });
  return ref;
}
type Ref = Awaited<ReturnType<typeof guest>>;
const about = (ref: Ref) => ({ fence: fence(), ...ref });
const agents = () => simAgentsOf(w.drivers.hypervisor.guests);
const g = () => w.clients.guest;
const read = (ref: Ref) => call(g(), g().readGuest, about(ref));
const freeze = (ref: Ref, thawAfterMs: bigint) => call(g(), g().freezeGuest, { ...about(ref), thawAfterMs });

async function run(ref: Ref, program: string, words: string[] = [], more: object = {}): Promise<RunInGuestResponse[]> {
  const got: RunInGuestResponse[] = [];
  const request = {
    ...about(ref),
    program,
    arguments: words,
    environment: [],
    input: Buffer.alloc(0),
    timeoutMs: 1_000n,
    ...more,
  };
  for await (const m of g().runInGuest(request)) got.push(m as RunInGuestResponse);
  return got;
}

it('asks a guest what it is, and sets its clock', async () => {
  const ref = await guest(AGENT);
  await agents().setTime(ref.uuid, Date.parse('2001-01-01'));
  const said = await read(ref);
  expect(said).toMatchObject({ hostname: 'g1', os: 'Simulated guest 1' });
  expect(Number(said.clockOffsetMs)).toBeLessThan(-1e9);
  expect(Number((await call(g(), g().syncGuestTime, about(ref))).clockOffsetMs)).toBeLessThan(-1e9);
  expect(Math.abs(Number((await read(ref)).clockOffsetMs))).toBeLessThan(1_000);
});

it('a guest without an agent, one whose agent hangs, one that is off and one of others are told apart', async () => {
  const [none, hangs] = [await guest(''), await guest(`${AGENT}# berth-sim: hangs`)];
  await expect(read(none)).rejects.toMatchObject({
    reason: 'BAD_STATE',
    message: expect.stringMatching(/no guest agent answers in vm g1/),
  });
  await expect(read(hangs)).rejects.toMatchObject({ reason: 'DEADLINE_EXCEEDED' });
  await expect(read({ ...none, vmId: 'vm-9' })).rejects.toMatchObject({
    message: expect.stringMatching(/belongs to vm-1/),
  });
  w.drivers.sim.destroy(none.uuid);
  await expect(read(none)).rejects.toMatchObject({ message: expect.stringMatching(/vm g1 is stopped/) });
});

it('tells watchers of guests, cut to size; one that hangs delays nothing', async () => {
  await guest(`${AGENT}# berth-sim: hangs`);
  const [lies, well] = [await guest(`${AGENT}# berth-sim: lies`), await guest(AGENT)];
  const { seen, stream } = watchInto(w.clients);
  const told = (uuid: string): GuestStatus | undefined =>
    seen
      .flatMap((m) => (m.message?.$case === 'guest' && m.message.value.uuid === uuid ? [m.message.value] : []))
      .at(-1);
  await vi.waitFor(() => expect(told(well.uuid)?.hostname).toBe('g3'), EVENTUALLY);
  await vi.waitFor(() => expect(told(lies.uuid)?.hostname).toMatch(/^evil \[2Jhostx/), EVENTUALLY);
  expect(told(lies.uuid)?.interfaces.length).toBe(32);
  const before = told(well.uuid)!.lastResetAtMs;
  w.drivers.sim.reset(well.uuid);
  await vi.waitFor(() => expect(told(well.uuid)!.lastResetAtMs).toBeGreaterThan(before), EVENTUALLY);
  w.drivers.sim.destroy(well.uuid);
  await vi.waitFor(
    () => expect(seen.some((m) => m.message?.$case === 'removed' && m.message.value.kind === 'guest')).toBe(true),
    EVENTUALLY,
  );
  stream.cancel();
});

it('freezes once, refuses what a frozen guest can not answer, and thaws', async () => {
  const ref = await guest(AGENT);
  expect((await freeze(ref, 60_000n)).fileSystems).toBe(1);
  await expect(freeze(ref, 60_000n)).rejects.toMatchObject({
    message: expect.stringMatching(/are frozen.*berth vm thaw g1/),
  });
  await expect(read(ref)).rejects.toMatchObject({ message: expect.stringMatching(/are frozen/) });
  await expect(run(ref, '/bin/echo')).rejects.toThrow(/are frozen/);
  expect((await call(g(), g().thawGuest, about(ref))).fileSystems).toBe(1);
  expect((await call(g(), g().thawGuest, about(ref))).fileSystems).toBe(0);
  await read(ref);
  for (const ms of [0n, 999n, 3_600_001n])
    await expect(freeze(ref, ms)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
});

it('thaws by itself at the deadline, also when the agent died in between', async () => {
  const [one, two] = [await guest(AGENT), await guest(AGENT)];
  await freeze(one, 1_000n);
  await vi.waitFor(() => expect(agents().isFrozen(one.uuid)).toBe(false), EVENTUALLY);
  await freeze(two, 1_000n);
  await w.down();
  expect(agents().isFrozen(two.uuid)).toBe(true);
  expect(JSON.parse(await readFile(join(w.dir, 'guests/frozen.json'), 'utf8'))).toHaveLength(1);
  await w.up();
  await vi.waitFor(() => expect(agents().isFrozen(two.uuid)).toBe(false), EVENTUALLY);
  await vi.waitFor(
    async () => expect(JSON.parse(await readFile(join(w.dir, 'guests/frozen.json'), 'utf8'))).toEqual([]),
    EVENTUALLY,
  );
});

it('a freeze that nobody answers leaves nothing that thinks it is frozen', async () => {
  const [none, hangs, well] = [await guest(''), await guest(`${AGENT}# berth-sim: hangs`), await guest(AGENT)];
  await freeze(well, 60_000n);
  await expect(freeze(none, 60_000n)).rejects.toMatchObject({ reason: 'BAD_STATE' });
  await expect(freeze(hangs, 60_000n)).rejects.toMatchObject({ reason: 'DEADLINE_EXCEEDED' });
  const left = JSON.parse(await readFile(join(w.dir, 'guests/frozen.json'), 'utf8')) as { uuid: string }[];
  expect(left.map((f) => f.uuid)).toEqual([well.uuid]);
});

it('sets a password, which is on no disk of the host', async () => {
  const ref = await guest(AGENT);
  const set = (user: string, password: string) => call(g(), g().setGuestPassword, { ...about(ref), user, password });
  await set('root', 'correct horse');
  expect(agents().passwordOf(ref.uuid, 'root')).toBe('correct horse');
  expect(await readFile(join(w.dir, 'operations/ledger.jsonl'), 'utf8')).not.toMatch(/horse|guest/);
  await expect(set('nobody', 'x')).rejects.toMatchObject({
    message: expect.stringMatching(/could not set the password of nobody: no such user/),
  });
  for (const [user, password] of [
    ['', 'x'],
    ['a:b', 'x'],
    ['root', ''],
    ['root', 'a\nb'],
    ['root', 'x'.repeat(513)],
  ] as const)
    await expect(set(user, password)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
});

it('runs programs: output in pieces, exit code, input; what is too much or never ends is said', async () => {
  const ref = await guest(AGENT);
  const text = (all: RunInGuestResponse[]) =>
    Buffer.concat(all.flatMap((m) => (m.message?.$case === 'output' ? [m.message.value] : []))).toString();
  const end = (all: RunInGuestResponse[]) =>
    all.flatMap((m) => (m.message?.$case === 'end' ? [m.message.value] : []))[0];
  expect(text(await run(ref, '/bin/echo', ['a', 'b']))).toBe('a b\n');
  expect(text(await run(ref, '/bin/cat', [], { input: Buffer.from('in') }))).toBe('in');
  expect(end(await run(ref, '/bin/false'))).toEqual({ exitCode: 1, signal: 0, truncated: false });
  const much = await run(ref, '/bin/yes');
  expect([text(much).length, end(much)?.truncated]).toEqual([2 ** 20, true]);
  await expect(run(ref, '/bin/none')).rejects.toThrow(/could not run \/bin\/none/);
  await expect(run(ref, '/bin/sleep')).rejects.toThrow(/did not end within 1 s: it goes on there as process \d+/);
  for (const bad of [
    { program: '' },
    { arguments: Array(257).fill('x') },
    { environment: ['x'] },
    { timeoutMs: 0n },
    { arguments: ['x'.repeat(70_000)] },
  ])
    await expect(run(ref, '/bin/echo', [], bad)).rejects.toThrow(/INVALID_ARGUMENT/);
});

it('asks a guest to shut down or reboot by its agent, once per operation id', async () => {
  const ref = await guest(AGENT);
  const ask = (id: string, action: GuestPowerAction) =>
    call(g(), g().askGuestPower, { context: context(id), ...ref, action });
  const started = w.drivers.sim.get(ref.uuid).startedAtMs;
  expect((await ask('job-9.a', GuestPowerAction.REBOOT)).state).toBe(OperationState.SUCCEEDED);
  await vi.waitFor(() => expect(w.drivers.sim.get(ref.uuid).startedAtMs).toBeGreaterThan(started), EVENTUALLY);
  await vi.waitFor(() => read(ref), EVENTUALLY);
  await ask('job-9.b', GuestPowerAction.SHUTDOWN);
  await vi.waitFor(() => expect(w.drivers.sim.get(ref.uuid).power).toBe('stopped'), EVENTUALLY);
  expect((await ask('job-9.c', GuestPowerAction.SHUTDOWN)).errorMessage).toMatch(/is stopped/);
});
