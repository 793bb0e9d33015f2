/** Tickets of uploads that become volumes: each for one stream of one person, and for two minutes. */
import { Readable } from 'node:stream';
import { beforeEach, expect, it } from 'vitest';
import { AppCluster } from '../../../test/harness/app-cluster.ts';

let c: AppCluster;
const uploads = () => c.life.volumeUploads;
const FILE = { fileBytes: 4, allocatedBytes: 4, format: 'raw', sizeBytes: 2 ** 30 };
const begin = (name: string, user = 'test') =>
  c.timed(uploads().begin({ name, file: FILE, format: '', host: 'h1', pool: '', labels: {} }, user));
const open = (jobId: string, user = 'test') => c.timed(uploads().open(jobId, user));
const send = (jobId: string, ticket: string, user = 'test') =>
  c.timed(uploads().send({ jobId, ticket, offset: 0 }, Readable.from([Buffer.from('disk')]), () => 'sum', user));
const said = async (answer: Promise<unknown>): Promise<string> => {
  const e = (await answer.catch((x: unknown) => x)) as { reason?: string; message?: string };
  return `${e.reason}: ${e.message}`;
};

beforeEach(async () => {
  c = await AppCluster.make();
});

it('a ticket is of who asked for it, and is not spent by another', async () => {
  const { jobId } = await begin('data');
  expect(await said(open(jobId, 'other'))).toMatch(/^PERMISSION_DENIED: upload job-.* is somebody else's/);
  const { ticket } = await open(jobId);
  expect(await said(send(jobId, ticket, 'other'))).toMatch(/^PERMISSION_DENIED: /);
  expect(await said(send(jobId, 'guess'))).toMatch(/^PERMISSION_DENIED: the upload ticket is not the one/);
  expect(await send(jobId, ticket)).toBe(4);
  expect(await said(send(jobId, ticket))).toMatch(
    /^(BAD_STATE: this upload ticket has been used|NOT_FOUND: no upload)/,
  );
  expect(await c.ended(jobId)).toBe('succeeded');
});

it('a ticket is worth nothing after its time, or after another was given; the upload goes on with a new one', async () => {
  const { jobId } = await begin('data');
  const late = await open(jobId);
  await c.sim.clock.advance(121_000);
  expect(await said(send(jobId, late.ticket))).toBe(
    'BAD_STATE: this upload ticket has expired. Ask for another to go on',
  );
  const before = await open(jobId);
  const now = await open(jobId);
  expect(await said(send(jobId, before.ticket))).toMatch(/^PERMISSION_DENIED: the upload ticket is not the one/);
  expect(await send(jobId, now.ticket)).toBe(4);
  expect(await c.ended(jobId)).toBe('succeeded');
});
