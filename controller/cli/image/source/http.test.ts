import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { afterEach, expect, it } from 'vitest';
import { httpSource, nameOfUrl } from './http.ts';
import { verified, type ByteSource } from './source.ts';

const DATA = Buffer.from(Array.from({ length: 400_000 }, (_, i) => (i * 7 + (i >> 8)) & 255));
const open: Server[] = [];
afterEach(() => {
  for (const s of open.splice(0)) s.close().closeAllConnections();
});

async function serve(handle: (q: IncomingMessage, r: ServerResponse, range: [number, number] | undefined) => void) {
  const server = createServer((q, r) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(q.headers.range ?? '') ?? [];
    handle(q, r, from === undefined ? undefined : [Number(from), Math.min(Number(to), DATA.length - 1)]);
  });
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/images/debian%2012.qcow2?x=1`;
}

const ranged = (r: ServerResponse, [from, to]: [number, number], etag = '"1"'): Buffer => {
  r.writeHead(206, { 'content-range': `bytes ${from}-${to}/${DATA.length}`, 'content-length': to - from + 1, etag });
  return DATA.subarray(from, to + 1);
};
const source = (url: string): Promise<ByteSource> =>
  httpSource(url, { clock: systemClock, signal: new AbortController().signal });
const drain = async (s: ByteSource): Promise<Buffer> => {
  const all = [];
  for await (const b of s.stream()) all.push(b);
  return Buffer.concat(all);
};

it('is read here and there, and whole; its name is the end of its path', async () => {
  const url = await serve((_, r, range) => r.end(ranged(r, range!)));
  const s = await source(url);
  expect([s.name, nameOfUrl(url), s.sizeBytes]).toEqual(['debian 12.qcow2', 'debian 12.qcow2', DATA.length]);
  expect(Buffer.from(await s.read(300_000, 10)).equals(DATA.subarray(300_000, 300_010))).toBe(true);
  expect((await s.read(DATA.length - 5, 100)).length).toBe(5);
  expect((await drain(s)).equals(DATA)).toBe(true);
});

it('goes on where it broke off, and asks for no byte twice', async () => {
  const asked: number[] = [];
  const url = await serve((_, r, range) => {
    asked.push(range![0]);
    const body = ranged(r, range!);
    if (range![1] < 200_000) return r.end(body);
    r.write(body.subarray(0, 90_000), () => setImmediate(() => r.destroy()));
  });
  expect((await drain(await source(url))).equals(DATA)).toBe(true);
  expect(asked.length).toBeGreaterThan(4);
  expect([...asked].sort((a, b) => a - b)).toEqual(asked);
});

it('ends with an error when the file changes in between, and when the server ends for good', async () => {
  let calls = 0;
  const changing = await serve((_, r, range) => {
    if (calls++ === 0) return r.end(ranged(r, range!));
    r.writeHead(200).end(DATA);
  });
  await expect(drain(await source(changing))).rejects.toThrow('changed while it was read');
  const gone = await serve((_, r) => r.writeHead(404).end());
  await expect(source(gone)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  await expect(source('http://127.0.0.1:1/x')).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  await expect(source('http://u:p@127.0.0.1:1/x')).rejects.toThrow('password in a command line');
});

it.each([
  ['another length', { total: 500_000, etag: undefined }],
  ['another length, with the same tag', { total: 500_000, etag: '"1"' }],
  ['another tag, though it was asked for the one before', { total: DATA.length, etag: '"2"' }],
  ['another weak tag', { total: DATA.length, etag: 'W/"2"', first: 'W/"1"' }],
  ['another date, and no tag', { total: DATA.length, etag: undefined, modified: 'Tue, 02 Jan 2024 00:00:00 GMT' }],
])('is no mixture of two files: the second answer has %s', async (_, then) => {
  let calls = 0;
  const url = await serve((_, r, range) => {
    const [from, to] = range!;
    const isFirst = calls++ === 0;
    const etag = isFirst && 'first' in then ? then.first : isFirst && then.etag !== undefined ? '"1"' : then.etag;
    const modified = 'modified' in then && (isFirst ? 'Mon, 01 Jan 2024 00:00:00 GMT' : then.modified);
    const about = { ...(etag !== undefined && { etag }), ...(modified && { 'last-modified': modified }) };
    const total = isFirst ? DATA.length : then.total;
    r.writeHead(206, { 'content-range': `bytes ${from}-${to}/${total}`, 'content-length': to - from + 1, ...about });
    r.end(DATA.subarray(from, to + 1));
  });
  await expect(drain(await source(url))).rejects.toThrow('changed while it was read');
});

it('is refused when it was packed on the way, with ranges and without', async () => {
  const packed = gzipSync(DATA);
  const ranges = await serve((_, r, range) => {
    const [from, to] = [range![0], Math.min(range![1], packed.length - 1)];
    const about = { 'content-range': `bytes ${from}-${to}/${packed.length}`, 'content-encoding': 'gzip' };
    r.writeHead(206, about).end(packed.subarray(from, to + 1));
  });
  const none = await serve((_, r) => r.writeHead(200, { 'content-encoding': 'gzip' }).end(packed));
  for (const url of [ranges, none])
    await expect(source(url)).rejects.toMatchObject({
      reason: 'INVALID_ARGUMENT',
      message: expect.stringContaining('packs /images/debian%2012.qcow2 on the way (gzip)') as string,
    });
});

it('whose first answer goes on for ever is read as far as was asked for', async () => {
  let sent = 0;
  const url = await serve((_, r, range) => {
    if (range![0] > 0 || range![1] > 200_000) return r.end(ranged(r, range!));
    r.writeHead(206, { 'content-range': `bytes 0-${range![1]}/${DATA.length}`, etag: '"1"' });
    const more = (): void => {
      for (let room = true; room && !r.destroyed; sent += 65_536) room = r.write(DATA.subarray(0, 65_536));
    };
    r.on('drain', more);
    r.write(DATA.subarray(0, range![1] + 1));
    more();
  });
  const s = await source(url);
  expect((await drain(s)).equals(DATA)).toBe(true);
  expect(sent).toBeLessThan(64 * 2 ** 20);
});

it.each([1, 511, 65_537])('is whole when the server cuts each answer after %d bytes more than before', async (more) => {
  let answers = 0;
  const url = await serve((_, r, range) => {
    if (range![1] < 200_000) return r.end(ranged(r, range!));
    const body = ranged(r, range!);
    const cut = 100_000 + more * ++answers;
    if (body.length <= cut) return r.end(body);
    r.write(body.subarray(0, cut), () => setImmediate(() => r.destroy()));
  });
  expect((await drain(await source(url))).equals(DATA)).toBe(true);
});

it('is followed to where it was moved', async () => {
  const url = await serve((q, r, range) => {
    if (q.url !== '/moved') return r.writeHead(302, { location: '/moved' }).end();
    r.end(ranged(r, range!));
  });
  expect((await drain(await source(url))).equals(DATA)).toBe(true);
  const astray = await serve((_, r) => r.writeHead(302, { location: 'file:///etc/passwd' }).end());
  await expect(source(astray)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  const circle = await serve((_, r) => r.writeHead(302, { location: '/' }).end());
  await expect(source(circle)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
});

it('is saved here first when the server knows no ranges, and one that breaks off is refused', async () => {
  const plain = await serve((_, r) => r.writeHead(200, { 'content-length': DATA.length }).end(DATA));
  const s = await source(plain);
  expect((await drain(s)).equals(DATA)).toBe(true);
  await s.close();
  const broken = await serve((_, r) => {
    r.writeHead(200, { 'content-length': DATA.length });
    r.write(DATA.subarray(0, 1_000), () => setImmediate(() => r.destroy()));
  });
  await expect(source(broken)).rejects.toMatchObject({
    reason: 'PEER_UNAVAILABLE',
    message: expect.stringMatching(/^127\.0\.0\.1:\d+ broke off after .* of \/images\/.* Import it again$/) as string,
  });
});

it('is given up when the server falls silent, before its answer and in the middle of it', async () => {
  const hasty = { ...systemClock, after: (ms: number, f: () => void) => systemClock.after(Math.min(ms, 100), f) };
  const impatient = (url: string) => httpSource(url, { clock: hasty, signal: new AbortController().signal });
  const silent = { reason: 'PEER_UNAVAILABLE', message: expect.stringContaining('no byte came for 30 s') as string };
  await expect(impatient(await serve(() => undefined))).rejects.toMatchObject(silent);
  const stuck = await serve((_, r) => {
    r.writeHead(200, { 'content-length': DATA.length });
    r.write(DATA.subarray(0, 1_000));
  });
  await expect(impatient(stuck)).rejects.toMatchObject(silent);
});

it('is refused in words when it is empty, and what is no URL', async () => {
  const empty = await serve((_, r) => r.writeHead(416).end());
  await expect(source(empty)).rejects.toThrow('is empty (0 bytes)');
  for (const url of ['http://', 'https://%']) {
    await expect(source(url)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    expect(() => nameOfUrl(url)).toThrow('is no URL');
  }
  expect(nameOfUrl('http://h/100%.img')).toBe('100%.img');
});

it('whose digest is another than the one that was asked for never comes to its end', async () => {
  const url = await serve((_, r, range) => r.end(ranged(r, range!)));
  const s = verified(await source(url), { algorithm: 'sha256', digest: 'f'.repeat(64) }, '--sha256');
  await expect(drain(s)).rejects.toThrow('is not what it should be');
});
