/**
 * A host of somebody else's again (lying-agent.test.ts), which knows how Berth works: it uses what is asked of it, and what
 * it may rightly say, to reach hosts, VMs, jobs and operators that are not its own.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { status as Status, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DomainPower, DomainStatus } from '@berth/proto/agent/v1/domain.ts';
import { HostReport } from '@berth/proto/agent/v1/host.ts';
import { ImageStatus } from '@berth/proto/agent/v1/image.ts';
import { Operation, OperationState } from '@berth/proto/agent/v1/operation.ts';
import { Statistics } from '@berth/proto/agent/v1/watch.ts';
import type { FakeAgent } from '@berth/controller/hosts/fake-agent.ts';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { addLiar, SANE } from '../harness/liar.ts';
import { eventually } from '../harness/processes.ts';

const MIB = 2 ** 20;
interface Vm {
  readonly id: string;
  readonly uuid: string;
  readonly name: string;
  readonly host: string;
  readonly state: string;
}
let c: Cluster;
let liar: FakeAgent;
/** The one VM that is placed on it. */
let its: Vm;
let images = 0;

beforeAll(async () => {
  c = await Cluster.start();
  await Promise.all(['h1', 'h2'].map((h) => c.addSimulated(h)));
  await c.waitUp('h1', 'h2');
  ({ liar } = await addLiar(c, 'liar', (agent) => (agent.bridges = ['br0'])));
  await c.waitUp('liar');
  await c.ok('vm', 'clone', await newImage(), 'its', '--host', 'liar');
  its = await vm('its');
  say(DomainPower.STOPPED, 'shutdown');
});
afterAll(async () => {
  liar?.stop();
  await c?.stop();
});

const vm = async (name: string): Promise<Vm> => (await c.json<Vm[]>('vm', 'list')).find((v) => v.name === name)!;

const ofIts = (what: Partial<DomainStatus>): DomainStatus =>
  DomainStatus.fromPartial({ uuid: its.uuid, vmId: its.id, name: 'its', ...what });

/** What it says of its own VM, now and in its next snapshot. */
function say(power: DomainPower, reason: string): void {
  liar.domains = [ofIts({ power, reason })];
  liar.send({ $case: 'domain', value: ofIts({ power, reason }) });
}

/** On h1, and nowhere else. */
async function newImage(): Promise<string> {
  const name = `image-${++images}`;
  writeFileSync(join(c.dir, `${name}.img`), Buffer.concat([rawDisk(4 * MIB), Buffer.from(name.padEnd(512))]));
  await c.ok('image', 'import', join(c.dir, `${name}.img`), '--host', 'h1');
  return name;
}
const digestOf = async (image: string): Promise<string> =>
  (await c.json<{ name: string; digest: string }[]>('image', 'list')).find((i) => i.name === image)!.digest;

let made = 0;
/** What is copied from h1 to h2 now, and run there. */
async function othersCopy(): Promise<void> {
  const [image, name] = [await newImage(), `other-${++made}`];
  await c.ok('vm', 'clone', image, name, '--host', 'h2', '--start');
  await c.ok('vm', 'delete', name, '--force');
}

it('an image that it says it has, and was never given, is not looked for there', async () => {
  const image = await newImage();
  liar.send({ $case: 'image', value: ImageStatus.fromPartial({ digest: await digestOf(image), fileBytes: 1n }) });
  liar.exports = { ticket: 'x'.repeat(43), address: '127.0.0.1:1' };
  await c.ok('vm', 'clone', image, 'honest', '--host', 'h2');
  await c.ok('vm', 'delete', 'honest');
});

it('an image that it was given and does not give on comes from another host', { timeout: 120_000 }, async () => {
  const sockets: Socket[] = [];
  const hole: Server = createServer((s) => sockets.push(s.on('error', () => undefined)));
  await new Promise<void>((resolve) => hole.listen(0, '127.0.0.1', resolve));
  const { port } = hole.address() as { port: number };
  try {
    const image = await newImage();
    await c.ok('vm', 'clone', image, 'has', '--host', 'liar');
    const [{ copies } = { copies: [] }] = (
      await c.json<{ name: string; copies: { host: string }[] }[]>('image', 'list')
    ).filter((i) => i.name === image);
    expect(copies.map((k) => k.host).sort()).toEqual(['h1', 'liar']);
    // accepted, and never answered
    liar.exports = { ticket: 'x'.repeat(43), address: `127.0.0.1:${port}` };
    await c.ok('vm', 'clone', image, 'honest', '--host', 'h2', '--start');
    await c.ok('vm', 'delete', 'honest', '--force');
  } finally {
    liar.exports = undefined;
    for (const s of sockets) s.destroy();
    hole.close();
  }
});

it(
  'a copy for which it wants another source again and again leaves other hosts their own',
  { timeout: 120_000 },
  async () => {
    const image = await newImage();
    const wanting = { state: OperationState.RUNNING, needsSource: true };
    liar.answers.set('fetchImage', (id) => {
      for (let i = 0; i < 100; i++)
        liar.send({
          $case: 'operation',
          value: Operation.fromPartial({ id, ...wanting, progressDoneBytes: BigInt(i) }),
        });
      return wanting;
    });
    const stuck = c.berth('vm', 'clone', image, 'mine', '--host', 'liar');
    const job = await eventually('it waits', async () =>
      (await c.json<{ id: string; kind: string }[]>('job', 'list', '--open')).find((j) => j.kind === 'vm.clone'),
    );
    await eventually('it has asked often', async () => liar.calls.filter((k) => k.method === 'fetchImage').length > 20);
    for (let i = 0; i < 3; i++) await othersCopy();
    await c.ok('job', 'cancel', job.id);
    expect((await stuck).code).toBe(1);
    liar.answers.clear();
    await c.quiet();
  },
);

it(
  'its VM that stops and starts a thousand times a second does not wash away what happened to others',
  { timeout: 120_000 },
  async () => {
    for (let i = 0; i < 5_000; i++) {
      say(DomainPower.RUNNING, 'booted');
      say(i % 2 ? DomainPower.CRASHED : DomainPower.STOPPED, 'shutdown');
    }
    say(DomainPower.RUNNING, 'booted');
    liar.send({ $case: 'host', value: HostReport.fromPartial({ ...SANE, os: 'the flood is over' }) });
    await othersCopy();
    await eventually('the flood is heard to its end', async () =>
      (await c.ok('host', 'show', 'liar')).includes('the flood is over'),
    );
    await eventually('its last word counts', async () => (await vm('its')).state === 'running');
    expect((await c.json('event', 'list', '--subject', 'its', '--limit', '1000')).length).toBeLessThan(50);
    say(DomainPower.STOPPED, 'shutdown');
  },
);

it('words for operators are one line of theirs, and not a screen of its own', async () => {
  const forged = '\u001b[2Jx\nh2  up  10.0.0.9\r\n\tvm web deleted\u2028\u202egnp\u0007';
  const error = Object.assign(new Error(forged), { code: Status.FAILED_PRECONDITION, details: forged });
  liar.answers.set('startDomain', () => ({
    state: OperationState.FAILED,
    errorReason: 'BAD_STATE',
    errorMessage: forged,
  }));
  liar.answers.set('ensureDomain', () => error as unknown as ServiceError);
  liar.send({
    $case: 'host',
    value: HostReport.fromPartial({
      ...SANE,
      hostname: forged,
      os: forged,
      checks: [{ name: forged, ok: false, detail: forged, fatal: false }],
    }),
  });
  liar.send({
    $case: 'domain',
    value: DomainStatus.fromPartial({ uuid: 'u-1', name: forged, power: DomainPower.RUNNING }),
  });
  liar.send({
    $case: 'domain',
    value: DomainStatus.fromPartial({
      uuid: '00000000-0000-4000-8000-000000000000',
      vmId: 'vm-0',
      name: forged,
      power: DomainPower.RUNNING,
    }),
  });
  await eventually('it is off', async () => (await vm('its')).state === 'stopped');
  const failed = await c.berth('vm', 'start', 'its');
  expect(failed.code).not.toBe(0);
  const all = [failed.out, failed.err];
  for (const args of [
    ['host', 'show', 'liar'],
    ['host', 'list', '-o', 'wide'],
    ['vm', 'list', '-o', 'wide'],
    ['vm', 'show', 'its'],
    ['job', 'list', '-o', 'wide'],
    ['event', 'list', '-o', 'wide'],
    ['alarm', 'list', '-o', 'wide'],
    ['audit', 'list', '-o', 'wide'],
  ])
    all.push((await c.berth(...args)).out);
  const said = all.join('\n');
  expect(said).toMatch(/h2 {2}up {2}10\.0\.0\.9/); // it was said, and so was shown
  expect(said).not.toMatch(/^(h2 {2}up|\s*vm web deleted)/m);
  expect(said).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]/);
  liar.answers.clear();
});

it('numbers at the ends of their types are shown as something, and no list breaks', async () => {
  const most = 2n ** 64n - 1n;
  liar.send({
    $case: 'statistics',
    value: Statistics.fromPartial({
      ...{ atMs: most, cpuUsed: -1, load1: NaN, memoryUsedBytes: most, diskBytes: 0n, diskFreeBytes: most },
      domains: [{ uuid: its.uuid, cpuUsed: Infinity, memoryUsedBytes: most, blockReadBytes: most }],
      silent: [
        { uuid: its.uuid, silentMs: most },
        { uuid: 'x'.repeat(100_000), silentMs: 0n },
      ],
    }),
  });
  liar.send({
    $case: 'host',
    value: HostReport.fromPartial({
      ...SANE,
      cpuThreads: -(2 ** 31),
      memoryBytes: most,
      diskBytes: 0n,
      diskFreeBytes: most,
    }),
  });
  liar.send({
    $case: 'volume',
    value: { volumeId: 'x', vmId: its.id, sizeBytes: most, allocatedBytes: most, imageDigest: '', seed: false },
  });
  liar.send({
    $case: 'image',
    value: ImageStatus.fromPartial({ digest: `sha256:${'0'.repeat(64)}`, virtualSizeBytes: most, fileBytes: most }),
  });
  liar.send({ $case: 'domain', value: ofIts({ power: DomainPower.RUNNING, memoryBytes: most, vcpus: -1 }) });
  liar.send({
    $case: 'domain',
    value: DomainStatus.fromPartial({
      uuid: 'foreign',
      name: 'f',
      power: DomainPower.RUNNING,
      memoryBytes: most,
      vcpus: 2 ** 31 - 1,
    }),
  });
  await othersCopy();
  for (const args of [
    ['host', 'list', '-o', 'wide'],
    ['host', 'show', 'liar'],
    ['vm', 'show', 'its'],
    ['vm', 'list', '-o', 'wide'],
    ['alarm', 'list', '-o', 'wide'],
    ['host', 'review', 'liar'],
  ])
    expect([args, (await c.ok(...args)).match(/NaN|Infinity|undefined|Invalid|e\+\d/)]).toEqual([args, null]);
  // as JSON the whole time: what reads it must get numbers
  for (const noun of ['host', 'vm', 'alarm'])
    expect(JSON.stringify(await c.json(noun, 'list'))).not.toMatch(/:null|NaN/);
  await saneAgain();
});

/** Resolves when the controller has heard of it what an honest host says, over whichever stream there is by then. */
async function saneAgain(): Promise<void> {
  const { diskBytes, diskFreeBytes } = SANE;
  await eventually('it is heard as an honest host', async () => {
    liar.send({ $case: 'host', value: HostReport.fromPartial({ ...SANE, os: 'sane again' }) });
    liar.send({ $case: 'statistics', value: Statistics.fromPartial({ atMs: 1n, diskBytes, diskFreeBytes }) });
    return (await c.ok('host', 'show', 'liar')).includes('sane again') && (await c.hostState('liar')) === 'up';
  });
}

it('an answer that never comes, or comes late, holds up its own job alone', { timeout: 120_000 }, async () => {
  let release: () => void = () => undefined;
  const late = new Promise<Partial<Operation>>((resolve) => (release = () => resolve({})));
  liar.answers.set('startDomain', () => late);
  say(DomainPower.STOPPED, 'shutdown');
  await eventually('it is off', async () => (await vm('its')).state === 'stopped');
  const starting = c.berth('vm', 'start', 'its');
  await eventually('it was asked', async () => liar.calls.some((k) => k.method === 'startDomain'));
  await othersCopy();
  const [job] = (await c.json<{ id: string; kind: string }[]>('job', 'list', '--open')).filter(
    (j) => j.kind === 'vm.start',
  );
  expect(job).toBeDefined();
  const cancelled = c.berth('job', 'cancel', job!.id);
  await othersCopy();
  liar.answers.clear();
  release();
  expect([(await cancelled).code, (await starting).code]).toEqual([0, 1]);
  await c.quiet();
});

it('what it said before, said again over a new connection, is no news', async () => {
  const web = await newImage();
  await c.ok('vm', 'clone', web, 'web', '--host', 'h1', '--start');
  const { id, uuid } = await vm('web');
  // a recording of h1's stream, as far as a stranger can make one: begin, the VM stopped, end; three times over
  for (let i = 0; i < 3; i++) {
    liar.send({ $case: 'begin', value: { hostId: liar.hostId, hostBootId: 'boot-0', agentInstanceId: 'run-0' } });
    liar.send({
      $case: 'domain',
      value: DomainStatus.fromPartial({ uuid, vmId: id, name: 'web', power: DomainPower.STOPPED, reason: 'shutdown' }),
    });
    liar.send({ $case: 'end', value: { sources: { complete: liar.sources } } });
  }
  await othersCopy();
  expect(await vm('web')).toMatchObject({ state: 'running', host: 'h1' });
  const h1 = (await c.json<{ name: string; id: string }[]>('host', 'list')).find((h) => h.name === 'h1');
  const before = liar.watches;
  liar.send({ $case: 'begin', value: { hostId: h1?.id ?? '', hostBootId: 'b', agentInstanceId: 'a' } });
  await eventually('who reports as another host has to begin again', async () => liar.watches > before);
  await c.waitUp('liar');
});

it(
  'a snapshot without end keeps it from being up, and keeps no more of it than a host may have',
  { timeout: 180_000 },
  async () => {
    const rss = () =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${c.controller.pid}/status`, 'utf8'))?.[1]) * 1024;
    const before = rss();
    liar.endless = true;
    liar.breakWatch();
    const watches = liar.watches;
    await eventually('it begins again', async () => liar.watches > watches);
    for (let i = 0; i < 60_000; i++)
      liar.send({
        $case: 'domain',
        value: DomainStatus.fromPartial({ uuid: `${i}`, name: 'x'.repeat(500), power: DomainPower.RUNNING }),
      });
    await othersCopy();
    expect(await c.hostState('liar')).not.toBe('up');
    expect(rss() - before).toBeLessThan(200 * MIB);
    liar.endless = false; // after a minute it is cut off: connections.test.ts
  },
);

it('and the controller has nothing to be ashamed of in its log', () => {
  expect(c.controller.running).toBe(true);
  expect(c.controller.output).not.toMatch(/uncaught|UnhandledPromise|failed unexpectedly|TypeError|RangeError/i);
});
