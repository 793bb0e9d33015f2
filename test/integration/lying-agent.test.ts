/**
 * One host of three belongs to somebody else: its key and certificate are real, its agent is not. Whatever it says hurts
 * its own record alone. Single streams are tested beside controller/src/hosts; here everything is a process, and the others
 * do their work meanwhile.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, credentials, Metadata, status as Status, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DomainPower, DomainServiceService, DomainStatus } from '@berth/proto/agent/v1/domain.ts';
import { HostReport } from '@berth/proto/agent/v1/host.ts';
import { ImageStatus } from '@berth/proto/agent/v1/image.ts';
import { OperationState } from '@berth/proto/agent/v1/operation.ts';
import { Statistics } from '@berth/proto/agent/v1/watch.ts';
import { VmServiceService } from '@berth/proto/v1/vm.ts';
import type { FakeAgent, FakeAgentTls } from '@berth/controller/hosts/fake-agent.ts';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { addLiar, SANE } from '../harness/liar.ts';
import { eventually } from '../harness/processes.ts';

interface Vm {
  readonly id: string;
  readonly uuid: string;
  readonly name: string;
  readonly host: string;
  readonly state: string;
}
const MIB = 2 ** 20;
const LAST = 2n ** 64n - 1n;
let c: Cluster;
let liar: FakeAgent;
let tls: FakeAgentTls;
let web: Vm;
let rssBefore: number;

beforeAll(async () => {
  c = await Cluster.start();
  await Promise.all(['h1', 'h2'].map((h) => c.addSimulated(h)));
  await c.waitUp('h1', 'h2');
  writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * MIB));
  await c.ok('image', 'import', join(c.dir, 'base.img'));
  await c.ok('vm', 'clone', 'base', 'web', '--host', 'h1', '--start');
  web = await vm('web');
  ({ liar, tls } = await addLiar(c, 'liar', (agent) => (agent.bridges = ['br0'])));
  await c.waitUp('liar');
  rssBefore = rss();
});
afterAll(async () => {
  liar?.stop();
  await c.stop();
});

const vm = async (name: string): Promise<Vm> => (await c.json<Vm[]>('vm', 'list')).find((v) => v.name === name)!;
const rss = (): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${c.controller.pid}/status`, 'utf8'))?.[1]) * 1024;
const messages = async (): Promise<string[]> =>
  (await c.json<{ message: string }[]>('event', 'list')).map((e) => e.message);

let made = 0;
/** What everybody else does, from end to end. */
async function theOthersWork(): Promise<void> {
  const name = `other-${++made}`;
  await c.ok('vm', 'clone', 'base', name, '--host', 'h2', '--start');
  await c.ok('vm', 'stop', name, '--force');
  await c.ok('vm', 'delete', name);
  expect(await vm('web')).toMatchObject({ state: 'running', host: 'h1', id: web.id });
}

const said = (what: Partial<DomainStatus>) => ({
  $case: 'domain' as const,
  value: DomainStatus.fromPartial({ power: DomainPower.RUNNING, memoryBytes: 1n, vcpus: 1, ...what }),
});

it("another host's VM stays what and where it is, and one event tells of the claim", async () => {
  const claim = { uuid: web.uuid, vmId: web.id, name: 'web' };
  for (const power of [DomainPower.CRASHED, DomainPower.STOPPED, DomainPower.RUNNING])
    liar.send(said({ ...claim, power, reason: 'guest shut down' }));
  liar.send({ $case: 'removed', value: { kind: 'domain', id: web.uuid } });
  liar.send(said(claim));
  await eventually('the claim is told of', async () =>
    (await messages()).find((m) => m.includes('says it is vm web, which belongs to h1: ignored')),
  );
  await theOthersWork();
  expect((await messages()).filter((m) => m.includes('says it is vm web'))).toHaveLength(1);
});

it('an image that it does not have is copied from the host that has it', async () => {
  const [base] = await c.json<{ digest: string }[]>('image', 'list');
  liar.send({ $case: 'image', value: ImageStatus.fromPartial({ digest: base!.digest, fileBytes: 1n }) });
  await theOthersWork();
});

it('numbers that no machine has, and texts that drive a terminal, show on its own line only', async () => {
  const [value, texts] = [LAST, '\u001b[2J\u0007<script>'.repeat(1_000)];
  liar.send({
    $case: 'statistics',
    value: Statistics.fromPartial({ cpuUsed: NaN, load1: -Infinity, memoryUsedBytes: value, diskFreeBytes: value }),
  });
  liar.send({
    $case: 'host',
    value: HostReport.fromPartial({
      cpuThreads: 2 ** 31,
      memoryBytes: value,
      diskBytes: value,
      hostname: texts,
      os: texts,
    }),
  });
  const listed = await c.ok('host', 'list');
  expect(listed).not.toMatch(/NaN|Infinity|undefined/);
  expect(await c.ok('host', 'show', 'liar')).not.toMatch(/[\u001b\u0007]/);
  await theOthersWork();
  liar.send({ $case: 'host', value: SANE });
});

it('an operation that never ends, or that it fails, is a matter of its own jobs', async () => {
  liar.answers.set('ensureVolume', () => ({ state: OperationState.RUNNING, progressDoneBytes: LAST }));
  liar.answers.set('fetchImage', () => ({ state: OperationState.RUNNING, progressDoneBytes: LAST }));
  const stuck = c.berth('vm', 'clone', 'base', 'mine', '--host', 'liar');
  const open = await eventually('its job waits', async () => {
    const jobs = await c.json<{ id: string; kind: string; subject: string }[]>('job', 'list', '--open');
    return jobs.find((j) => j.kind === 'vm.clone');
  });
  await theOthersWork();
  await c.ok('job', 'cancel', open.id);
  expect((await stuck).code).toBe(1);
  liar.answers.clear();
  await c.quiet();
  expect(await vm('mine')).toBeUndefined();
});

it('more domains than a host can have are cut off, and one event says so', async () => {
  for (let i = 0; i < 10_000; i++) liar.send(said({ uuid: `${i}`, name: `d${i}` }));
  await eventually('the surplus is told of', async () =>
    (await messages()).find((m) => m.includes('reports more domains than Berth keeps')),
  );
  await theOthersWork();
});

it('a message without measure costs it the connection; a good report brings it back', async () => {
  const before = liar.watches;
  liar.send({ $case: 'host', value: HostReport.fromPartial({ hostname: 'a'.repeat(8 * MIB) }) });
  await eventually('it has to begin again', async () => liar.watches > before);
  await c.waitUp('liar');
  await theOthersWork();
});

it('messages that are left out, or said again, cost it the connection too', async () => {
  const before = liar.watches;
  liar.send({ $case: 'heartbeat', value: {} }, 5n);
  await eventually('it has to begin again', async () => liar.watches > before);
  liar.send({ $case: 'heartbeat', value: {} }, -2n);
  await eventually('and once more', async () => liar.watches > before + 1);
  await c.waitUp('liar');
});

it('a flood of reports is read slowly, and others are answered meanwhile', async () => {
  const claim = said({ uuid: web.uuid, vmId: web.id, name: 'web', reason: 'x'.repeat(400) });
  for (let i = 0; i < 150_000; i++) liar.send(claim);
  for (let i = 0; i < 3; i++) await theOthersWork();
  expect(rss()).toBeLessThan(rssBefore + 256 * MIB);
  expect((await messages()).filter((m) => m.includes('says it is vm web')).length).toBeLessThan(20);
});

it('its certificate opens neither the API nor another agent', async () => {
  const [h1] = await c.json<{ name: string; address: string }[]>('host', 'list');
  expect(await codeOf(c.address, VmServiceService.listVms)).toBe(Status.UNAUTHENTICATED);
  expect([Status.PERMISSION_DENIED, Status.UNAUTHENTICATED]).toContain(
    await codeOf(h1!.address, DomainServiceService.listDomains),
  );
});

it('and the controller has nothing to be ashamed of in its log', async () => {
  liar.stop();
  expect(c.controller.running).toBe(true);
  expect(c.controller.output).not.toMatch(/uncaught|UnhandledPromise|failed unexpectedly|TypeError|RangeError/i);
});

interface Unary {
  readonly path: string;
  readonly requestSerialize: (v: never) => Buffer;
  readonly responseDeserialize: (b: Buffer) => unknown;
}

/** What a call gets that has its certificate and nothing else. */
async function codeOf(address: string, method: Unary): Promise<number> {
  const [ca, key, cert] = [tls.caPem, tls.keyPem, tls.certificatePem].map((pem) => Buffer.from(pem));
  const ssl = credentials.createSsl(ca, key, cert, { checkServerIdentity: () => undefined });
  const client = new Client(address, ssl, { 'grpc.ssl_target_name_override': 'berth' });
  const { path } = method;
  try {
    return await new Promise((resolve) => {
      const deadline = Date.now() + 20_000;
      const empty = () => Buffer.alloc(0);
      const done = (e: ServiceError | null): void => resolve(e?.code ?? Status.OK);
      client.makeUnaryRequest(path, empty, method.responseDeserialize, {}, new Metadata(), { deadline }, done);
    });
  } finally {
    client.close();
  }
}
