/** The whole controller in this process: a real database, real TLS, and agents that only pretend to be hosts. */
import { X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { loadPackageDefinition, Metadata, status as Status, type Client, type ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createApi, type Api } from '@berth/controller/cli/core/api.ts';
import { EnrollmentServiceClient } from '@berth/proto/v1/enrollment.ts';
import { HostState } from '@berth/proto/v1/host.ts';
import { ImageState } from '@berth/proto/v1/image.ts';
import { JobState } from '@berth/proto/v1/job.ts';
import { VmState } from '@berth/proto/v1/vm.ts';
import { DomainPower, DomainStatus } from '@berth/proto/agent/v1/domain.ts';
import { sqliteWorkerFile } from '@berth/test/harness/sqlite-worker.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { systemRandom } from '@berth/shared/runtime/random.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import { decodeJoinLine, decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { fetchPinnedCa } from '@berth/shared/trust/pin.ts';
import { credentials } from '@grpc/grpc-js';
import { checkConfig } from './config.ts';
import { createController, type Controller } from './controller.ts';
import { FakeAgent } from './hosts/fake-agent.ts';
import { silentLog } from './hosts/testing.ts';
import { aVm } from './state/samples.ts';
import { loadIdentity, readInstallation } from './trust/identity.ts';
import { initialise, renewAdminToken, setAddresses } from './trust/init.ts';
import { newRequest } from './trust/testing.ts';

const until = (check: () => unknown) => vi.waitFor(check, { timeout: 15_000, interval: 20 });
let folder: string;
let dataDir: string;
let workerFile: string;
let controller: Controller;
let address: string;
let ca: string;
let api: Api;
const agents: FakeAgent[] = [];

const make = () => {
  const config = checkConfig({ listen: '127.0.0.1:0' }, 'test');
  return createController({ dataDir, config, clock: systemClock, random: systemRandom, log: silentLog, workerFile });
};
const login = () => decodeLoginLine(readFileSync(join(dataDir, 'admin-token'), 'utf8'));
const apiWith = (token: string) => createApi({ controller: address, ca, token }, () => systemClock.now());

async function startController() {
  controller = make();
  address = `127.0.0.1:${(await controller.start()).port}`;
  ca = await fetchPinnedCa(address, login().caPin);
  api = apiWith(login().token);
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-controller-'));
  dataDir = join(folder, 'data');
  workerFile = await sqliteWorkerFile();
  await initialise({ dataDir, addresses: ['127.0.0.1:7443'], clock: systemClock, log: silentLog, workerFile });
  await startController();
});
afterAll(async () => {
  api.close();
  await controller.stop();
  for (const a of agents) a.stop();
  rmSync(folder, { recursive: true });
});

const NEW_TOKEN = (user: string) => ({ user, role: '', lifetimeMs: 0n, description: '' });
const addHost = (name: string, at: string) =>
  api.call(api.hosts, (c) => c.createHost, { name, address: at, labels: {} });
const getHost = (host: string) => api.call(api.hosts, (c) => c.getHost, { host });

/** As an agent does it: reserve a port, join, listen with the certificate that it got. */
async function enrol(name: string, o: { readonly capabilities?: string[] } = {}): Promise<FakeAgent> {
  const probe = new FakeAgent('', { ...(await ownTls()) });
  await probe.start();
  const { port } = probe;
  probe.stop();
  const { joinToken } = await addHost(name, `127.0.0.1:${port}`);
  const line = decodeJoinLine(joinToken?.token ?? '');
  const { csrPem, keyPem } = await newRequest();
  const client = new EnrollmentServiceClient(line.controller, tls(), NAMED);
  const answer = await new Promise<{ hostId: string; certificatePem: string; caPem: string }>((resolve, reject) =>
    client.enroll({ tokenId: line.tokenId, tokenSecret: line.secret, csrPem, transferCsrPem: '' }, (e, r) =>
      e ? reject(e) : resolve(r),
    ),
  );
  client.close();
  const agent = new FakeAgent(answer.hostId, { caPem: answer.caPem, certificatePem: answer.certificatePem, keyPem });
  agent.port = port;
  Object.assign(agent, o);
  agents.push(agent);
  await agent.start();
  controller.parts?.hosts.redial(answer.hostId as HostId);
  await until(async () => expect((await getHost(name)).state).toBe(HostState.UP));
  return agent;
}
/** An address is no name for a TLS handshake. */
const NAMED = { 'grpc.ssl_target_name_override': 'controller' };
const tls = () => credentials.createSsl(Buffer.from(ca), null, null, { checkServerIdentity: () => undefined });
async function ownTls() {
  const { caPem, chainPem, keyPem } = controller.parts!.identity;
  return { caPem, certificatePem: chainPem, keyPem };
}

describe('an installation', () => {
  it('is made once, with files for its owner only', async () => {
    const again = initialise({ dataDir, addresses: ['x:1'], clock: systemClock, log: silentLog, workerFile });
    await expect(again).rejects.toThrow(/holds an installation already/);
    for (const file of ['admin-token', 'trust/trust.json', 'berth.db'])
      expect(statSync(join(dataDir, file)).mode & 0o777).toBe(0o600);
  });

  it('is used by one controller at a time', async () => {
    await expect(make().start()).rejects.toThrow(/is in use by another controller/);
  });

  it('is told to be absent in one line', async () => {
    const config = checkConfig({ listen: '127.0.0.1:0' }, 'test');
    const nowhere = createController({
      ...{ config, clock: systemClock, random: systemRandom, log: silentLog },
      dataDir: join(folder, 'none'),
    });
    await expect(nowhere.start()).rejects.toThrow(/holds no installation. Make one: berth-controller init/);
  });
});

describe('a caller', () => {
  it('without a token, or with a wrong one, is refused', async () => {
    for (const token of ['', 'token-0.x']) {
      const stranger = apiWith(token);
      const call = stranger.call(stranger.hosts, (c) => c.listHosts, { page: undefined });
      await expect(call).rejects.toMatchObject({ reason: 'UNAUTHENTICATED' });
      const watch = stranger.stream(
        stranger.events,
        (c) => c.watchEvents,
        { afterRevision: 0n },
        new AbortController().signal,
      );
      await expect(watch[Symbol.asyncIterator]().next()).rejects.toMatchObject({ reason: 'UNAUTHENTICATED' });
      stranger.close();
    }
  });

  it('leaves a row in the audit log for each change, each refusal and each change that failed', async () => {
    const made = await api.call(api.users, (c) => c.createUser, { name: 'zoe', kind: '', grants: [] });
    const again = api.call(api.users, (c) => c.createUser, { name: 'zoe', kind: '', grants: [] });
    await expect(again).rejects.toMatchObject({ reason: 'ALREADY_EXISTS' });
    const token = await api.call(api.tokens, (c) => c.createToken, NEW_TOKEN('zoe'));
    const zoe = apiWith(token.secret);
    await expect(zoe.call(zoe.users, (c) => c.deleteUser, { user: 'admin' })).rejects.toMatchObject({
      reason: 'PERMISSION_DENIED',
    });
    zoe.close();
    const list = { page: undefined, user: '', object: '', outcome: '', sinceMs: 0n };
    const rows = () => api.call(api.audit, (c) => c.listAudit, list).then((r) => r.rows);
    await until(async () => expect((await rows()).some((r) => r.user === 'zoe')).toBe(true));
    const told = (await rows()).map((r) => [r.user, r.method, r.outcome, r.object, r.peer].join(' '));
    expect(told).toContain('admin UserService.CreateUser done zoe 127.0.0.1');
    expect(told).toContain('admin UserService.CreateUser failed zoe 127.0.0.1');
    expect(told).toContain('zoe UserService.DeleteUser refused admin 127.0.0.1');
    expect(told.some((t) => / (unknown )?.*TokenService.CreateToken done token-/.test(t))).toBe(true);
    expect(JSON.stringify(await rows(), (_, v: unknown) => (typeof v === 'bigint' ? Number(v) : v))).not.toContain(
      token.secret.split('.')[1],
    );
    expect(await api.call(api.audit, (c) => c.verifyAudit, { head: '' })).toMatchObject({ ok: true });
    await api.call(api.users, (c) => c.deleteUser, { user: made.id });
  });

  it('may do what its role may, and is told what it takes', async () => {
    const made = await api.call(api.tokens, (c) => c.createToken, {
      user: 'eve',
      role: 'viewer',
      lifetimeMs: 0n,
      description: '',
    });
    const viewer = apiWith(made.secret);
    expect(await viewer.call(viewer.controller, (c) => c.getController, {})).toMatchObject({
      user: 'eve',
      role: 'viewer',
    });
    const denied = viewer.call(viewer.hosts, (c) => c.deleteHost, { host: 'h1', force: false });
    await expect(denied).rejects.toThrow('eve is viewer and may not do this: it takes the role admin');
    viewer.close();
  });

  it('with TLS 1.2 gets no connection', async () => {
    const [host, port] = address.split(':');
    const socket = connect({ host, port: Number(port), rejectUnauthorized: false, maxVersion: 'TLSv1.2' });
    const outcome = await new Promise((resolve) =>
      socket.once('error', () => resolve('refused')).once('secureConnect', () => resolve('accepted')),
    );
    socket.destroy();
    expect(outcome).toBe('refused');
  });

  it('that sends a size beyond all numbers is told so', async () => {
    const call = api.call(api.tokens, (c) => c.createToken, {
      user: 'x',
      role: 'viewer',
      lifetimeMs: 2n ** 63n,
      description: '',
    });
    await expect(call).rejects.toThrow('lifetime_ms is too large');
  });

  it('can ask for health without credentials, and for the services only with them', async () => {
    const health = clientOf('health', 'grpc.health.v1.Health');
    const check = await new Promise((resolve, reject) =>
      health['check']!({ service: '' }, (e: ServiceError | null, r: unknown) => (e ? reject(e) : resolve(r))),
    );
    expect(check).toMatchObject({ status: 'SERVING' });
    const checkOf = (service: string) =>
      new Promise((resolve) =>
        health['check']!({ service }, (e: ServiceError | null, r: { status: string } | undefined) =>
          resolve(e ? e.code : r?.status),
        ),
      );
    expect(await checkOf('berth.v1.VmService')).toBe('SERVING');
    expect(await checkOf('berth.v1.ImageService')).toBe('SERVING');
    expect(await checkOf('berth.v1.NoService')).toBe(Status.NOT_FOUND);
    expect(await seen(health, 'berth.v1.VmService')).toBe('SERVING');
    expect(await seen(health, 'berth.v1.NoService')).toBe('SERVICE_UNKNOWN');
    const { statuses } = await new Promise<{ statuses: Record<string, unknown> }>((resolve, reject) =>
      health['list']!({}, (e: ServiceError | null, r: never) => (e ? reject(e) : resolve(r))),
    );
    expect(statuses).toMatchObject({ '': { status: 'SERVING' }, 'berth.v1.HostService': { status: 'SERVING' } });
    const reflection = clientOf('reflection', 'grpc.reflection.v1.ServerReflection');
    const ask = (metadata: Metadata, request: object) =>
      new Promise<Reflected>((resolve, reject) => {
        const call = reflection['serverReflectionInfo']!(metadata) as unknown as NodeJS.ReadWriteStream;
        call.on('data', resolve).on('error', reject);
        call.write(request as never);
        call.end();
      });
    await expect(ask(new Metadata(), { listServices: '' })).rejects.toThrow(/UNAUTHENTICATED/);
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${login().token}`);
    const names = (await ask(metadata, { listServices: '' })).listServicesResponse.service.map((s) => s.name);
    expect(names).toEqual(expect.arrayContaining(['berth.v1.HostService', 'berth.v1.VmService']));
    // as grpcurl does: the file of a symbol, with all that it imports, under their real names
    const found = await ask(metadata, { fileContainingSymbol: 'berth.v1.VmService' });
    const files = found.fileDescriptorResponse.fileDescriptorProto.map((f) => fileIn(f).name);
    expect(files.sort()).toEqual(['common', 'customize', 'guest', 'hardware', 'vm'].map((f) => `berth/v1/${f}.proto`));
    const byName = await ask(metadata, { fileByFilename: 'berth/v1/host.proto' });
    const host = fileIn(byName.fileDescriptorResponse.fileDescriptorProto[0]!);
    expect(host.service.map((s) => s.name)).toEqual(['HostService']);
    for (const c of [health, reflection]) (c as unknown as Client).close();
  });
});

interface Reflected {
  readonly listServicesResponse: { readonly service: readonly { readonly name: string }[] };
  readonly fileDescriptorResponse: { readonly fileDescriptorProto: readonly Buffer[] };
}

const fileIn = (bytes: Uint8Array) => fromBinary(FileDescriptorProtoSchema, bytes);

/** The first that one who watches is told. */
const seen = (health: Loose, service: string) =>
  new Promise((resolve) => {
    const call = health['watch']!({ service }) as NodeJS.ReadableStream & { cancel(): void };
    call
      .on('error', () => undefined)
      .once('data', (r: { status: string }) => {
        call.cancel();
        resolve(r.status);
      });
  });

type Loose = Record<string, (...args: unknown[]) => unknown>;
/** As others make one: from the .proto of the protocol, at run time. */
function clientOf(protocol: string, service: string): Loose {
  const proto = fileURLToPath(new URL(`../../proto/grpc/${protocol}/v1/${protocol}.proto`, import.meta.url));
  const root = loadPackageDefinition(loadSync(proto, { enums: String, oneofs: true })) as unknown as Loose;
  const Service = service.split('.').reduce((at, part) => at[part] as never, root) as unknown as new (
    at: string,
    c: unknown,
    options: object,
  ) => Loose;
  return new Service(address, tls(), NAMED);
}

describe('a host', () => {
  it('joins with its token, comes up, and its VM is seen, heard and typed to', async () => {
    const agent = await enrol('h1');
    const host = await getHost('h1');
    expect(host.facts?.cpuThreads).toBe(8);
    const vm = { ...aVm({ name: 'web' }), hostId: agent.hostId as HostId, phase: 'ready' as const };
    await controller.parts!.state.update((tx) => tx.vms.put({ ...vm, spec: { ...vm.spec, disks: [] } }));
    const domain = DomainStatus.fromPartial({ uuid: vm.uuid, vmId: vm.id, name: 'web', power: DomainPower.RUNNING });
    agent.send({ $case: 'domain', value: domain });
    await until(async () =>
      expect(await api.call(api.vms, (c) => c.getVm, { vm: 'web' })).toMatchObject({
        state: VmState.RUNNING,
        host: 'h1',
      }),
    );
    const log = api.stream(
      api.vms,
      (c) => c.readVmLog,
      { vm: 'web', tailBytes: 0n, follow: false },
      new AbortController().signal,
    );
    const heard: string[] = [];
    for await (const m of log) heard.push(Buffer.from(m.data).toString());
    expect(heard.join('')).toBe('hello from the guest\n');
    expect(await typed('echo')).toBe('echo');
    await controller.parts!.state.update((tx) => tx.vms.delete(vm.id));
  });

  async function typed(text: string): Promise<string> {
    const call = api.console();
    const answer = new Promise<string>((resolve, reject) => {
      call.on('data', (m: { data: Buffer }) => resolve(Buffer.from(m.data).toString())).on('error', reject);
    });
    call.write({ message: { $case: 'open', value: { vm: 'web', force: false } } });
    call.write({ message: { $case: 'data', value: Buffer.from(text) } });
    const said = await answer;
    call.on('error', () => undefined);
    call.cancel();
    return said;
  }

  it('receives an upload through the controller, once per ticket', async () => {
    const agent = await enrol('h2');
    for (const a of agents)
      a.answers.set('importImage', () => ({
        image: { digest: 'sha256:ab', virtualSizeBytes: 4096n, fileBytes: 10n, sourceDigest: 'cd' },
      }));
    const file = Buffer.alloc(3 << 20, 7);
    const fileBytes = BigInt(file.length);
    const request = { name: 'base', fileBytes, allocatedBytes: 0n, format: '', host: 'h2' };
    const { image, jobId, uploadTicket } = await api.call(api.images, (c) => c.importImage, request);
    const send = (ticket: string) => {
      const { sink, done } = api.upload(new AbortController().signal);
      sink.on('error', () => undefined);
      sink.write({ message: { $case: 'begin', value: { imageId: image?.id ?? '', ticket } } });
      for (let at = 0; at < file.length; at += 1 << 18)
        sink.write({ message: { $case: 'data', value: file.subarray(at, at + (1 << 18)) } });
      sink.end();
      return done;
    };
    await expect(send('wrong')).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' });
    expect(await send(uploadTicket)).toEqual({ receivedBytes: BigInt(file.length) });
    expect(agent.uploads[0]?.equals(file)).toBe(true);
    await until(async () =>
      expect((await api.call(api.jobs, (c) => c.getJob, { job: jobId })).state).toBe(JobState.SUCCEEDED),
    );
    expect(await api.call(api.images, (c) => c.getImage, { image: 'base' })).toMatchObject({
      state: ImageState.AVAILABLE,
      copies: [{ host: 'h2' }],
    });
    await expect(send(uploadTicket)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  it.each([
    { how: 'as counts to a host that can count', name: 'counts', also: ['upload.zeros'], bytes: 4, runs: [1 << 20] },
    { how: 'as bytes to one that can not', name: 'spells', also: [], bytes: 4 + (1 << 20), runs: [] },
  ])('sends runs of zeros $how', async ({ name, also, bytes, runs }) => {
    const agent = await enrol(name, { capabilities: ['image.fetch', ...also] });
    for (const a of agents)
      a.answers.set('importImage', () => ({
        image: { digest: 'sha256:ab', virtualSizeBytes: 4096n, fileBytes: 10n, sourceDigest: 'cd' },
      }));
    const fileBytes = BigInt(4 + (1 << 20));
    const request = { name, fileBytes, allocatedBytes: 4n, format: '', host: name };
    const { image, uploadTicket } = await api.call(api.images, (c) => c.importImage, request);
    const { sink, done } = api.upload(new AbortController().signal);
    sink.write({ message: { $case: 'begin', value: { imageId: image?.id ?? '', ticket: uploadTicket } } });
    sink.write({ message: { $case: 'data', value: Buffer.from('disk') } });
    sink.write({ message: { $case: 'zeros', value: 1n << 20n } });
    sink.end();
    await done;
    expect([agent.uploads[0]?.length, agent.runsOfZeros]).toEqual([bytes, runs]);
  });
});

describe('another address', () => {
  it('is taken while it is stopped alone: into its certificate, tokens and the login line, and other names go', async () => {
    const options = { dataDir, clock: systemClock, log: silentLog, workerFile };
    const { token } = login();
    await expect(setAddresses({ ...options, addresses: ['new.example'] })).rejects.toThrow(/runs|in use|lock/);
    api.close();
    await controller.stop();
    await expect(setAddresses({ ...options, addresses: ['new.example', 'a b'] })).rejects.toThrow(/is not an address/);
    // what is cut off before the login line has them is seen by the installation's own, and done again
    const inTheWay = join(dataDir, 'admin-token.new');
    mkdirSync(inTheWay);
    const before = readInstallation(dataDir);
    await expect(setAddresses({ ...options, addresses: ['new.example'] })).rejects.toThrow(/EISDIR/);
    expect(readInstallation(dataDir)).toEqual(before);
    rmdirSync(inTheWay);
    for (const again of [1, 2]) await setAddresses({ ...options, addresses: ['new.example', `[fd00::${again}]:9443`] });
    expect(login()).toMatchObject({ controller: 'new.example:7443', token });
    const names = async () => new X509Certificate((await loadIdentity(dataDir, Date.now())).chainPem).subjectAltName;
    expect(await names()).toMatch(/DNS:new\.example, .*FD00:0:0:0:0:0:0:2/);
    expect(await names()).not.toMatch(/FD00:0:0:0:0:0:0:1\b/);
    await startController();
    await until(async () => expect((await getHost('h1')).state).toBe(HostState.UP));
  });
});

describe('a stop', () => {
  it('ends streams, keeps everything, and frees the database', async () => {
    const events = api.stream(api.events, (c) => c.watchEvents, { afterRevision: 1n }, new AbortController().signal);
    const reader = (async () => {
      for await (const _ of events);
    })();
    await until(async () => expect((await getHost('h1')).state).toBe(HostState.UP));
    const ended = expect(reader).rejects.toMatchObject({ reason: 'CONTROLLER_UNREACHABLE' });
    await controller.stop();
    await ended;
    api.close();
    await renewAdminToken({ dataDir, clock: systemClock, log: silentLog, workerFile });
    await startController();
    await until(async () => expect((await getHost('h1')).state).toBe(HostState.UP));
  });
});
