/** What a user reaches whose roles are bound to labels: every method of the API is tried on objects out of reach. */
import { CloneVmsRequest } from '@berth/proto/v1/batch.ts';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, credentials, Metadata, status as Status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VmServiceService } from '@berth/proto/v1/vm.ts';
import { CreateVolumeRequest } from '@berth/proto/v1/volume.ts';
import { newId } from '@berth/shared/model/ids.ts';
import type { Volume } from '@berth/shared/model/volume.ts';
import { createApi, type Api } from '@berth/controller/cli/core/api.ts';
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { systemRandom } from '@berth/shared/runtime/random.ts';
import { decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { sqliteWorkerFile } from '@berth/test/harness/sqlite-worker.ts';
import { until } from '@berth/test/harness/until.ts';
import { checkConfig } from '../config.ts';
import { createController, type Controller } from '../controller.ts';
import { silentLog } from '../hosts/testing.ts';
import { startJob } from '../jobs/engine/start.ts';
import { imageFetch } from '../jobs/image-fetch.ts';
import { aHost, aJob, anImage, aVm } from '../state/samples.ts';
import { initialise } from '../trust/init.ts';
import { AUTHORISATION, ruleOf } from './authorisation.ts';
import { services, type App } from './services.ts';
import type { Method } from './call.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-scope-'));
let controller: Controller;
let admin: Api;
let endpoint: { controller: string; ca: string };
const apis: Api[] = [];
const hidden = aVm({ name: 'hidden-vm' });
const mine = aVm({ name: 'mine' });
const hiddenVolume: Volume = {
  ...{ id: newId('volume', 1), name: 'hidden-volume', state: 'ready', hostId: undefined, sizeBytes: 1, format: 'raw' },
  ...{ imageId: undefined, labels: { team: 'b' }, createdAtMs: 1 },
};
/** Of the VM, to clone it. */
const captured = anImage({ name: 'hidden-vm-vda-0123', hidden: true, ownerLabels: { team: 'b' } });
const hiddenJob = aJob({ subject: 'hidden-vm', state: 'succeeded', user: 'admin' });

beforeAll(async () => {
  const workerFile = await sqliteWorkerFile();
  const dataDir = join(folder, 'data');
  await initialise({ dataDir, addresses: ['127.0.0.1:7443'], clock: systemClock, log: silentLog, workerFile });
  controller = createController({
    ...{ dataDir, clock: systemClock, random: systemRandom, log: silentLog, workerFile },
    config: checkConfig({ listen: '127.0.0.1:0', limits: { requestsPerSecond: 5, burst: 200 } }, 'test'),
  });
  const { port } = await controller.start();
  const line = decodeLoginLine(readFileSync(join(dataDir, 'admin-token'), 'utf8'));
  endpoint = { controller: `127.0.0.1:${port}`, ca: controller.parts!.identity.caPem };
  admin = apiWith(line.token);
  const of = (labels: Record<string, string>, vm: typeof mine) => ({ ...vm, spec: { ...vm.spec, labels } });
  await controller.parts!.state.update((tx) => {
    const host = { ...aHost({ name: 'hidden-host' }), labels: { team: 'b' } };
    tx.hosts.put(host);
    tx.images.put(captured);
    startJob(tx, imageFetch, { imageId: captured.id, hostId: host.id }, { subject: captured.name, user: 'admin' });
    const { name } = captured;
    const about = { severity: 'info', subjectKind: 'image', subject: name, jobId: undefined } as const;
    tx.event({ type: 'image.captured', ...about, message: `image ${name} captured of vm hidden-vm` });
    tx.vms.put(of({ team: 'b' }, hidden));
    tx.vms.put(of({ team: 'a' }, mine));
    tx.jobs.put({ ...hiddenJob, endedAtMs: tx.nowMs, params: { vmId: hidden.id } });
    tx.volumes.put(hiddenVolume);
    for (const subject of ['hidden-vm', 'mine'])
      tx.event({ type: 'vm.x', severity: 'info', subjectKind: 'vm', subject, message: subject, jobId: undefined });
  });
});
afterAll(async () => {
  for (const a of apis) a.close();
  await controller.stop();
  rmSync(folder, { recursive: true });
});

function apiWith(token: string): Api {
  const made = createApi({ ...endpoint, token }, () => systemClock.now());
  apis.push(made);
  return made;
}
async function userWith(name: string, role: string, selector = ''): Promise<{ api: Api; token: string; id: string }> {
  const grants = [{ role, cluster: '', selector }];
  await admin.call(admin.users, (c) => c.createUser, { name, kind: '', grants });
  const request = { user: name, role: '', lifetimeMs: 0n, description: '' };
  const { secret, token } = await admin.call(admin.tokens, (c) => c.createToken, request);
  return { api: apiWith(secret), token: secret, id: token?.id ?? '' };
}

const OUTSIDE: Readonly<Record<string, string>> = {
  ...{ vm: 'hidden-vm', host: 'hidden-host', job: hiddenJob.id, image: 'none', user: 'admin', token: 'token-0' },
  ...{
    pool: 'none',
    network: 'none',
    volume: 'hidden-volume',
    name: 'new',
    imageId: 'image-0',
    address: '10.0.0.1:7444',
  },
};

/** One call of any method about what is out of reach: its status, and all that it answered. */
function ask(client: Client, method: Method, token: string): Promise<{ code: number; answers: unknown[] }> {
  const request = method.requestDeserialize(Buffer.alloc(0)) as Record<string, unknown>;
  for (const [k, v] of Object.entries(OUTSIDE)) if (k in request) request[k] = v;
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const { path, requestSerialize: write, responseDeserialize: read } = method;
  const answers: unknown[] = [];
  return new Promise((resolve) => {
    const done = (code: number) => resolve({ code, answers });
    const single = (e: { code: number } | null, v?: unknown) => (answers.push(v), done(e?.code ?? Status.OK));
    if (method.requestStream && method.responseStream) {
      const call = client.makeBidiStreamRequest(path, write, read, metadata);
      call.on('data', (d) => answers.push(d)).on('error', () => undefined);
      call.on('status', (s) => done(s.code));
      call.write({ message: { $case: 'open', value: { vm: 'hidden-vm', force: false, kind: 1, ticket: 'x' } } });
    } else if (method.requestStream) {
      const call = client.makeClientStreamRequest(path, write, read, metadata, single);
      call
        .on('error', () => undefined)
        .write({
          message: { $case: 'begin', value: { imageId: 'image-0', ticket: 'x', uploadId: 'job-0', offset: 0n } },
        });
      call.end();
    } else if (method.responseStream) {
      const call = client.makeServerStreamRequest(path, write, read, request, metadata, {
        deadline: systemClock.now() + 1_000,
      });
      call.on('data', (d) => answers.push(d)).on('error', () => undefined);
      call.on('status', (s) => done(s.code));
    } else client.makeUnaryRequest(path, write, read, request, metadata, single);
  });
}

const EXPECTED: Readonly<Record<string, readonly number[]>> = {
  vm: [Status.NOT_FOUND],
  host: [Status.NOT_FOUND],
  job: [Status.NOT_FOUND],
  newVm: [Status.PERMISSION_DENIED, Status.NOT_FOUND],
  newVms: [Status.PERMISSION_DENIED, Status.NOT_FOUND],
  newHost: [Status.PERMISSION_DENIED],
  volume: [Status.NOT_FOUND],
  newVolume: [Status.PERMISSION_DENIED, Status.NOT_FOUND],
  installation: [Status.PERMISSION_DENIED],
  visible: [Status.OK, Status.NOT_FOUND, Status.DEADLINE_EXCEEDED],
};

describe('a caller whose role is bound to labels', () => {
  it('reaches nothing else, by any method, and hears nothing of it', async () => {
    const { token } = await userWith('ann', 'admin', 'team=a');
    const ssl = credentials.createSsl(Buffer.from(endpoint.ca), null, null, { checkServerIdentity: () => undefined });
    const client = new Client(endpoint.controller, ssl, { 'grpc.ssl_target_name_override': 'berth-controller' });
    const methods = services({ about: { state: controller.parts!.state } } as unknown as App).flatMap((s) =>
      Object.values(s.definition),
    );
    expect(methods.map((m) => m.path).sort()).toEqual(
      Object.keys(AUTHORISATION)
        .filter((p) => p.includes('berth.v1'))
        .sort(),
    );
    for (const method of methods) {
      const rule = ruleOf(method.path);
      if (rule?.needs === 'anyone' || rule?.needs === 'self') continue;
      const { code, answers } = await ask(client, method, token);
      expect([method.path, EXPECTED[rule!.on]]).toEqual([method.path, expect.arrayContaining([code])]);
      const said = JSON.stringify(answers, (_, v: unknown) => (typeof v === 'bigint' ? Number(v) : v));
      expect([method.path, said]).toEqual([method.path, expect.not.stringMatching(/hidden/) as string]);
    }
    client.close();
  });

  it('makes many at once where each of them is in reach, and names the row that is not', async () => {
    const { api } = await userWith('uma', 'operator', 'team=a');
    const rows = [{ name: 'one' }, { name: 'two', line: 3 }, { name: 'hidden-vm', line: 4 }];
    const clone = (some: typeof rows, labels: Record<string, string>) =>
      api.call(
        api.batches,
        (c) => c.cloneVms,
        CloneVmsRequest.fromPartial({ all: { image: 'none', labels }, rows: some, dryRun: true }),
      );
    await expect(clone(rows, { team: 'b' })).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' });
    await expect(clone(rows, { team: 'a' })).rejects.toThrow('line 4 (hidden-vm): the name hidden-vm is taken');
    await expect(clone(rows.slice(0, 2), { team: 'a' })).rejects.toThrow('image none does not exist');
    const ofVm = CloneVmsRequest.fromPartial({
      all: { labels: { team: 'a' } },
      rows: rows.slice(0, 1),
      vm: 'hidden-vm',
    });
    await expect(api.call(api.batches, (c) => c.cloneVms, ofVm)).rejects.toThrow('vm hidden-vm does not exist');
  });

  it('makes nothing of what was captured of a VM out of reach, and hears nothing of that', async () => {
    const { api } = await userWith('gil', 'operator', 'team=a');
    const labels = { team: 'a' };
    for (const image of [captured.name, captured.id]) {
      const many = (all: object) =>
        api.call(api.batches, (c) => c.cloneVms, CloneVmsRequest.fromPartial({ all, rows: [{ name: 'one' }] }));
      const volume = CreateVolumeRequest.fromPartial({ name: 'copy', image, labels });
      const unknown = `image ${image} does not exist`;
      await expect(many({ image, labels })).rejects.toThrow(unknown);
      await expect(many({ image: 'none', labels, spec: { disks: [{ image }] } })).rejects.toThrow(unknown);
      await expect(api.call(api.volumes, (c) => c.createVolume, volume)).rejects.toThrow(unknown);
    }
    const { jobs } = await api.call(api.jobs, (c) => c.listJobs, { page: undefined, openOnly: false });
    expect(jobs.map((j) => j.subject)).toEqual([]);
    const { api: owner } = await userWith('hal', 'viewer', 'team=b');
    const seen = await owner.call(owner.jobs, (c) => c.listJobs, { page: undefined, openOnly: false });
    expect(seen.jobs.map((j) => j.subject)).toContain(captured.name);
    const events = await owner.call(owner.events, (c) => c.listEvents, { limit: 50, afterRevision: 0n, subject: '' });
    expect(events.events.map((e) => e.type)).toContain('image.captured');
  });

  it("takes no unit of storage, which may hold what is anybody's", async () => {
    const { api } = await userWith('ida', 'admin', 'team=a');
    const unit = CreateVolumeRequest.fromPartial({ name: 'lun', pool: 'san', unit: 'u:1', labels: { team: 'a' } });
    const make = (by: Api) => by.call(by.volumes, (c) => c.createVolume, unit);
    await expect(make(api)).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' });
    await expect(make(admin)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  it('has what is in reach: lists, events, watches, labels', async () => {
    const { api } = await userWith('ben', 'operator', 'team=a');
    const { vms } = await api.call(api.vms, (c) => c.listVms, { page: undefined, host: '' });
    expect(vms.map((v) => v.name)).toEqual(['mine']);
    const { events } = await api.call(api.events, (c) => c.listEvents, { limit: 50, afterRevision: 0n, subject: '' });
    expect(events.map((e) => e.message)).toEqual(['mine']);
    const { hosts } = await api.call(api.hosts, (c) => c.listHosts, { page: undefined });
    expect(hosts).toEqual([]);
    const set = (labels: Record<string, string>) =>
      api.call(api.vms, (c) => c.labelVm, { vm: 'mine', set: labels, remove: [] });
    expect((await set({ tier: 'db' })).spec?.labels).toEqual({ team: 'a', tier: 'db' });
    await expect(set({ team: 'b' })).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' });
    const { vms: db } = await api.call(api.vms, (c) => c.listVms, { page: undefined, host: '', selector: 'tier=db' });
    expect(db.map((v) => v.name)).toEqual(['mine']);
  });

  it('may look where it may not touch, and is told so', async () => {
    const { api } = await userWith('cat', 'viewer', 'team=a');
    const start = api.call(api.vms, (c) => c.startVm, { vm: 'mine' });
    await expect(start).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' });
  });

  it('is not told what has a name that it wants, only that it is taken', async () => {
    const { api } = await userWith('dan', 'operator', 'team=a');
    const request = {
      ...{ vcpus: 1, memoryBytes: 0n, diskSizeBytes: 0n, host: '', bridge: '', mac: '', dryRun: false },
      sshKeys: [],
    };
    const create = (name: string, labels: Record<string, string>) =>
      api.call(api.vms, (c) => c.createVm, { ...request, name, labels });
    await expect(create('hidden-vm', { team: 'a' })).rejects.toThrow(/^the name hidden-vm is taken$/);
    await expect(create('new', { team: 'b' })).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' });
    await expect(create('new', { team: 'a' })).rejects.toThrow(
      expect.objectContaining({ reason: 'NO_CAPACITY', message: expect.not.stringContaining('hidden-host') as string }),
    );
  });
});

let users = 0;
describe('a stream that is open', () => {
  const follow = (api: Api): { readonly ended: Promise<unknown>; readonly got: string[] } => {
    const got: string[] = [];
    const read = async (): Promise<unknown> => {
      const request = { afterRevision: 0n };
      try {
        for await (const e of api.stream(api.events, (c) => c.watchEvents, request, new AbortController().signal))
          got.push(e.message);
      } catch (e) {
        return isClusterError(e) ? e.reason : e;
      }
      return 'ended';
    };
    return { ended: read(), got };
  };

  it.each([
    [
      'its token is revoked',
      'UNAUTHENTICATED',
      (_: string, token: string) => admin.call(admin.tokens, (c) => c.deleteToken, { token }),
    ],
    [
      'its user is disabled',
      'UNAUTHENTICATED',
      (user: string) => admin.call(admin.users, (c) => c.disableUser, { user }),
    ],
    [
      'its user is removed',
      'UNAUTHENTICATED',
      (user: string) => admin.call(admin.users, (c) => c.deleteUser, { user }),
    ],
    [
      'its role is taken',
      'PERMISSION_DENIED',
      (user: string) =>
        admin.call(admin.users, (c) => c.revokeRole, { user, grant: { role: 'viewer', cluster: '', selector: '' } }),
    ],
  ] as const)(
    'ends within seconds when %s',
    async (_, reason, act) => {
      const name = `u${++users}`;
      const { api, id } = await userWith(name, 'viewer');
      const { ended, got } = follow(api);
      await until('an event arrives', async () => {
        await controller.parts!.state.update((tx) =>
          tx.event({
            type: 'a.b',
            severity: 'info',
            subjectKind: 'host',
            subject: 'h',
            message: 'm',
            jobId: undefined,
          }),
        );
        return got.length > 0;
      });
      await act(name, id);
      expect(await ended).toBe(reason);
    },
    20_000,
  );

  it('shows at once no more than the roles of the moment allow', async () => {
    const { api } = await userWith('eve', 'viewer', 'team=a');
    const { got } = follow(api);
    const tell = (subject: string) =>
      controller.parts!.state.update((tx) =>
        tx.event({ type: 'a.b', severity: 'info', subjectKind: 'vm', subject, message: subject, jobId: undefined }),
      );
    await until('an event arrives', async () => {
      await tell('hidden-vm');
      await tell('mine');
      return got.length > 1;
    });
    expect(new Set(got)).toEqual(new Set(['mine']));
  });
});

describe('a caller that floods', () => {
  it('is refused what is over its share, while another gets every answer', async () => {
    const flood = await userWith('flood', 'viewer');
    const calm = await userWith('calm', 'viewer');
    const ssl = credentials.createSsl(Buffer.from(endpoint.ca), null, null, { checkServerIdentity: () => undefined });
    const client = new Client(endpoint.controller, ssl, { 'grpc.ssl_target_name_override': 'berth-controller' });
    const { listVms } = VmServiceService;
    const asked = Array.from({ length: 3_000 }, () => ask(client, listVms, flood.token));
    const answers = Array.from({ length: 50 }, () =>
      calm.api.call(calm.api.vms, (c) => c.listVms, { page: undefined, host: '' }),
    );
    expect((await Promise.all(answers)).every((a) => a.vms.length === 2)).toBe(true);
    const codes = (await Promise.all(asked)).map((a) => a.code);
    client.close();
    const refused = codes.filter((c) => c === Status.RESOURCE_EXHAUSTED).length;
    expect([...new Set(codes)].sort()).toEqual([Status.OK, Status.RESOURCE_EXHAUSTED]);
    expect(refused).toBeGreaterThan(2_000);
    const rows = await admin.call(admin.audit, (c) => c.listAudit, {
      ...{ page: undefined, user: 'flood', object: '', outcome: 'refused', sinceMs: 0n },
    });
    expect(rows.rows.length).toBeLessThan(5);
  }, 60_000);
});
