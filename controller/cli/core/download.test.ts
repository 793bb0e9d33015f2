import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import type { DownloadResponse } from '@berth/proto/v1/export.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import type { Api } from './api.ts';
import type { Context } from './context.ts';
import { download } from './download.ts';

const DATA = Buffer.from(Array.from({ length: 5_000 }, (_, i) => i & 255));
const sha256 = createHash('sha256').update(DATA).digest('hex');
const message = (m: DownloadResponse['message']): DownloadResponse => ({ message: m });

/** @param breaks after so many bytes of each try; Infinity: never. */
function world(breaks: number, digest = sha256, left?: Buffer) {
  const asked: number[] = [];
  let finished = 0;
  async function* stream(_: unknown, __: unknown, { offset }: { offset: bigint }): AsyncGenerator<DownloadResponse> {
    asked.push(Number(offset));
    yield message({ $case: 'begin', value: { fileBytes: 5_000n, sha256: digest, virtualSizeBytes: 1n } });
    for (let at = Number(offset); at < DATA.length; at += 500) {
      if (at - Number(offset) >= breaks) throw new ClusterError('CONTROLLER_UNREACHABLE', 'gone');
      yield message({ $case: 'data', value: DATA.subarray(at, at + 500) });
    }
  }
  const api = { stream, call: async () => void finished++ } as unknown as Api;
  const clock = new SimClock();
  const ctx = { clock, signal: new AbortController().signal } as unknown as Context;
  const came: Buffer[] = [];
  let readBack = -1;
  const sink = {
    begin: async () => undefined,
    write: async (piece: Uint8Array | number) =>
      void came.push(typeof piece === 'number' ? Buffer.alloc(piece) : Buffer.from(piece)),
    ...(left && {
      had: async function* () {
        came.push(left);
        yield left;
      },
      again: async () => void came.splice(0),
    }),
  };
  const run = async (): Promise<void> => {
    let open = true;
    const begin = async () => {
      readBack = Buffer.concat(came).length;
      return { jobId: 'j', ticket: 't' };
    };
    const all = download(ctx, api, begin, sink).finally(() => (open = false));
    all.catch(() => undefined);
    for (let n = 0; open && n < 200; n++) await clock.advance(1_000);
    return all;
  };
  return { run, asked, came: () => Buffer.concat(came), finished: () => finished, readBack: () => readBack };
}

it('goes on where it broke off, asks for no byte twice, and says when it has all', async () => {
  const w = world(1_000);
  await w.run();
  expect(w.asked).toEqual([0, 1_000, 2_000, 3_000, 4_000]);
  expect([w.came().equals(DATA), w.finished()]).toEqual([true, 1]);
});

it('gives up when nothing comes any more', async () => {
  const w = world(0);
  await expect(w.run()).rejects.toMatchObject({ reason: 'CONTROLLER_UNREACHABLE' });
  expect([w.asked.length, w.finished()]).toEqual([6, 0]);
});

it('is an error when what came is something else', async () => {
  const w = world(Infinity, 'f'.repeat(64));
  await expect(w.run()).rejects.toMatchObject({ reason: 'DIGEST_MISMATCH' });
  expect(w.finished()).toBe(0);
});

it('goes on with what a command before has left', async () => {
  const w = world(Infinity, sha256, DATA.subarray(0, 1_234));
  await w.run();
  expect([w.asked, w.came().equals(DATA), w.finished()]).toEqual([[1_234], true, 1]);
  const whole = world(Infinity, sha256, DATA);
  await whole.run();
  expect([whole.asked, whole.came().equals(DATA)]).toEqual([[5_000], true]);
});

it('reads what is left before the file is made, which would be gone by then where there is much to read', async () => {
  const w = world(Infinity, sha256, DATA.subarray(0, 1_234));
  await w.run();
  expect(w.readBack()).toBe(1_234);
});

it.each([
  ['another file', Buffer.alloc(1_000, 7)],
  ['a longer one', Buffer.alloc(9_000, 7)],
  ['as much of another', Buffer.alloc(5_000, 7)],
])('fetches all anew when what was left is of %s', async (_, left) => {
  const w = world(Infinity, sha256, left);
  await w.run();
  expect([w.asked, w.came().equals(DATA), w.finished()]).toEqual([[left.length, 0], true, 1]);
});
