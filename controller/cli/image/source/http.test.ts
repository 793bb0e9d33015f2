import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
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
