/** The HTTPS border over real TLS: who gets in, what is refused and how, files both ways. The handlers are the test's. */
import { afterEach, describe, expect, it } from 'vitest';
import { Vm, VmJobResponse, type CloneVmRequest } from '@berth/proto/v1/vm.ts';
import type { UploadImageRequest } from '@berth/proto/v1/image.ts';
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import { HttpBed, until, type Stubs } from './testing.ts';

let bed: HttpBed;
const start = async (stubs: Stubs = {}): Promise<HttpBed> => (bed = await HttpBed.start(stubs));
afterEach(() => bed.stop());

const errorOf = (text: string): Record<string, unknown> =>
  (JSON.parse(text) as { error: Record<string, unknown> }).error;

describe('who gets in', () => {
  it('answers health to anybody, and nothing else', async () => {
    await start();
    expect(await bed.ask('/healthz', { token: '' })).toMatchObject({ status: 200, text: 'ok\n' });
    expect(await bed.ask('/readyz', { token: '' })).toMatchObject({ status: 200, text: 'ready\n' });
    for (const path of ['/v1/vms', '/openapi.json', '/nothing', '/', '/v1/vms/x:start', '/healthz/', '//healthz']) {
      const r = await bed.ask(path, { token: '' });
      expect([path, r.status, r.headers['www-authenticate']]).toEqual([path, 401, 'Bearer']);
    }
  });

  it('takes the roles of the one table', async () => {
    await start({
      vms: { startVm: () => VmJobResponse.create(), listVms: () => ({ vms: [], nextPageToken: '', found: [] }) },
    });
    const { token, secret } = await bed.tokens.create({ user: 'vic', role: 'viewer', lifetimeMs: 0 }, 'test');
    const vic = `${token.id}.${secret}`;
    expect((await bed.ask('/v1/vms', { token: vic })).status).toBe(200);
    const r = await bed.ask('/v1/vms/web:start', { method: 'POST', token: vic });
    expect([r.status, errorOf(r.text)['message']]).toEqual([
      403,
      'vic is viewer and may not do this: it takes the role operator',
    ]);
  });

  it('is not ready when a commit fails, and says why', async () => {
    await start();
    await bed.state.close();
    const r = await bed.ask('/readyz', { token: '' });
    expect([r.status, r.text]).toEqual([503, 'not ready: a commit failed: the state is closed\n']);
    expect((await bed.ask('/healthz', { token: '' })).status).toBe(200);
  });

  it('sends headers that keep browsers of others out', async () => {
    await start();
    const r = await bed.ask('/healthz', { headers: { origin: 'https://evil.example' } });
    expect(r.headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' });
    expect(Object.keys(r.headers).filter((h) => h.startsWith('access-control'))).toEqual([]);
  });
});

describe('a call', () => {
  it('brings the handler what gRPC would, and its answer back', async () => {
    let got: CloneVmRequest | undefined;
    await start({
      vms: {
        cloneVm: (r, call) => {
          got = r;
          return VmJobResponse.fromPartial({ vm: { name: r.name, stateReason: call.user }, jobId: 'job-1' });
        },
      },
    });
    const r = await bed.post('/v1/vms:clone', {
      image: 'base',
      name: 'web',
      memoryBytes: '67108864',
      labels: { a: 'b' },
    });
    expect(r.status).toBe(200);
    expect(JSON.parse(r.text)).toMatchObject({ vm: { name: 'web', stateReason: 'ann' }, jobId: 'job-1' });
    expect(got).toMatchObject({ image: 'base', memoryBytes: 67_108_864n, labels: { a: 'b' }, runPolicy: undefined });
  });

  it('gets errors with status, reason, words and a trace id, the same as in the header', async () => {
    await start({
      vms: {
        getVm: () => Promise.reject(notFound('vm web does not exist', { vm: 'web' })),
        startVm: () => Promise.reject(new ClusterError('HOST_UNREACHABLE', 'h1 is away')),
      },
    });
    const r = await bed.ask('/v1/vms/web');
    const traceId = r.headers['berth-trace-id'];
    const words = { reason: 'NOT_FOUND', message: 'vm web does not exist', retry: 'never', meta: { vm: 'web' } };
    expect(JSON.parse(r.text)).toEqual({ error: { code: 404, status: 'NOT_FOUND', ...words, traceId } });
    const away = await bed.ask('/v1/vms/web:start', { method: 'POST' });
    expect([away.status, away.headers['retry-after']]).toEqual([503, '1']);
  });

  it('tells nothing of its insides when a handler fails unexpectedly', async () => {
    await start({ vms: { getVm: () => Promise.reject(new TypeError('secret of /etc')) } });
    const r = await bed.ask('/v1/vms/web');
    expect(r.status).toBe(500);
    expect(errorOf(r.text)['message']).toBe(
      `internal error (trace ${String(r.headers['berth-trace-id'])}); the log has the details`,
    );
  });

  it('sends no body for HEAD, and takes none with GET', async () => {
    await start({ vms: { getVm: () => Vm.fromPartial({ name: 'web' }) } });
    const head = await bed.ask('/v1/vms/web', { method: 'HEAD' });
    expect([head.status, head.text]).toEqual([200, '']);
    const body = { body: '{}', headers: { 'content-type': 'application/json', 'content-length': '2' } };
    expect(errorOf((await bed.ask('/v1/vms/web', body)).text)['message']).toMatch(/^GET takes no body/);
  });
});

describe('a body', () => {
  const json = { 'content-type': 'application/json' };
  const stubs: Stubs = { vms: { cloneVm: () => VmJobResponse.create() } };
  const post = (o: { headers?: Record<string, string>; body?: string | Buffer }) =>
    bed.ask('/v1/vms:clone', { method: 'POST', ...o });

  it('is JSON and says so', async () => {
    await start(stubs);
    const typed = (type: string) => post({ headers: { 'content-type': type }, body: '{}' });
    expect((await typed('application/x-www-form-urlencoded')).status).toBe(415);
    expect((await typed('Application/JSON; charset=utf-8')).status).toBe(200);
    expect((await post({ headers: { ...json, 'content-encoding': 'gzip' }, body: '{}' })).status).toBe(415);
    expect((await post({ headers: json, body: Buffer.from([0x7b, 0xff, 0x7d]) })).status).toBe(400);
  });

  it('is refused when it is larger than 4 MiB, whether it says so or not', async () => {
    await start(stubs);
    const large = Buffer.alloc(5 << 20, ' ');
    const announced = await post({ headers: { ...json, 'content-length': String(large.length) }, body: large });
    expect([announced.status, errorOf(announced.text)['message']]).toEqual([413, 'the body is larger than 4 MiB']);
    const chunked = await post({ headers: { ...json, 'transfer-encoding': 'chunked' }, body: large }).catch(
      () => undefined,
    );
    expect(chunked?.status ?? 413).toBe(413);
    expect((await post({ headers: json, body: '{}' })).status).toBe(200);
  });

  it('is not waited for for ever, and the caller hears so', async () => {
    await start(stubs);
    const socket = await bed.raw();
    let said = '';
    socket.on('data', (d: Buffer) => (said += d.toString()));
    socket.write(
      `POST /v1/vms:clone HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${bed.token}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"na`,
    );
    await until(() => expect(said).toMatch(/^HTTP\/1\.1 408 [\s\S]*the body did not come in time/));
    await until(() => expect(socket.destroyed || socket.readableEnded).toBe(true));
  });

  it('that goes on after the answer is cut off', async () => {
    await start(stubs);
    for (const path of ['/healthz', '/v1/nothing']) {
      const socket = await bed.raw();
      let said = '';
      socket.on('data', (d: Buffer) => (said += d.toString())).on('error', () => undefined);
      socket.write(
        `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${bed.token}\r\ntransfer-encoding: chunked\r\n\r\n`,
      );
      const pour = (): void => void (socket.writable && socket.write('4\r\nmore\r\n', () => setImmediate(pour)));
      pour();
      await until(() => expect(socket.destroyed).toBe(true));
      expect(said).toMatch(/^HTTP\/1\.1 (200|404) /);
    }
  });

  it('of a caller without a token is never read', async () => {
    await start(stubs);
    const r = await bed.ask('/v1/vms:clone', {
      ...{ token: '', method: 'POST', body: Buffer.alloc(1 << 20) },
      headers: { ...json, 'content-length': String(1 << 20) },
    });
    expect([r.status, r.headers['connection']]).toEqual([401, 'close']);
  });
});

describe('files', () => {
  const upload = async (messages: AsyncIterable<UploadImageRequest>) => {
    const got: string[] = [];
    for await (const { message } of messages)
      got.push(
        message?.$case === 'begin'
          ? `${message.value.imageId}/${message.value.ticket}`
          : String(message?.$case === 'data' && message.value.length),
      );
    return got;
  };

  it('go to the handler as they come, with their ticket from the header', async () => {
    let got: string[] = [];
    await start({
      images: {
        uploadImage: async (messages) => {
          got = await upload(messages);
          return { receivedBytes: 300_000n };
        },
      },
    });
    for (const method of ['PUT', 'POST']) {
      const headers = { 'berth-ticket': 'T', 'content-type': 'application/x-www-form-urlencoded' };
      const r = await bed.ask('/v1/images/image-1:upload', { method, headers, body: Buffer.alloc(300_000) });
      expect(JSON.parse(r.text)).toEqual({ receivedBytes: '300000' });
      expect(got[0]).toBe('image-1/T');
      expect(got.slice(1).reduce((sum, n) => sum + Number(n), 0)).toBe(300_000);
    }
    const ranged = { 'berth-ticket': 'T', 'content-range': 'bytes 5-10/100' };
    const part = await bed.ask('/v1/images/image-1:upload', { method: 'PUT', headers: ranged, body: 'part' });
    expect([part.status, errorOf(part.text)['message']]).toEqual([400, expect.stringMatching(/^Content-Range is not/)]);
    const without = await bed.ask('/v1/images/image-1:upload', { method: 'PUT', body: 'x' });
    expect(errorOf(without.text)['message']).toBe('an upload needs its ticket: the header Berth-ticket');
  });

  it('that stop coming, or whose sender hangs up, fail towards the handler', async () => {
    const ends: unknown[] = [];
    await start({
      images: {
        uploadImage: (m) =>
          upload(m).then(
            () => ({ receivedBytes: 0n }),
            (e: unknown) => {
              ends.push(e);
              throw e;
            },
          ),
      },
    });
    const begin = `PUT /v1/images/i:upload HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${bed.token}\r\nberth-ticket: T\r\ncontent-length: 100\r\n\r\nsome`;
    const silent = await bed.raw();
    silent.on('error', () => undefined).write(begin);
    await until(() => expect(ends[0]).toMatchObject({ reason: 'DEADLINE_EXCEEDED' }));
    const gone = await bed.raw();
    gone.on('error', () => undefined).write(begin, () => gone.destroy());
    await until(() => expect(ends[1]).toMatchObject({ reason: 'CANCELLED' }));
  });

  it('come from the handler, and are cut when they fail in their middle', async () => {
    let fails = false;
    await start({
      vms: {
        readVmLog: async function* () {
          yield { data: Buffer.from('hello ') };
          await Promise.resolve();
          if (fails) throw new ClusterError('HOST_UNREACHABLE', 'h1 went away');
          yield { data: Buffer.from('guest') };
        },
      },
    });
    const whole = await bed.ask('/v1/vms/web/log?tailBytes=10');
    expect([whole.status, whole.text]).toEqual([200, 'hello guest']);
    fails = true;
    await expect(bed.ask('/v1/vms/web/log')).rejects.toThrow(/aborted/);
  });
});
