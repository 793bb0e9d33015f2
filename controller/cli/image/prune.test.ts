import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { PrunedCopy } from '@berth/proto/v1/image.ts';
import { Job, JobState } from '@berth/proto/v1/job.ts';
import type { Api } from '../core/api.ts';
import type { Context } from '../core/context.ts';
import { imagePrune } from './prune.ts';

const copy = (image: string, host: string): PrunedCopy => ({
  ...{ images: [image], host, fileBytes: 1_500_000_000n, verdict: 'remove', jobId: `job-${image}` },
});
const { SUCCEEDED, FAILED } = JobState;

async function prune(
  copies: readonly PrunedCopy[],
  ends: Readonly<Record<string, Parameters<typeof Job.fromPartial>[0]>>,
) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  let code = 0;
  const api = {
    call: async () => ({ copies }),
    async *stream(_client: unknown, _method: unknown, { job }: { job: string }) {
      yield Job.fromPartial({ id: job, kind: 'image.evict', ...ends[job] });
    },
  } as unknown as Api;
  const ctx = {
    stdout,
    stderr,
    signal: new AbortController().signal,
    api: async () => api,
    fail: (c: number) => (code = c),
  };
  await imagePrune.run(ctx as unknown as Context, [], {});
  const said = (s: PassThrough): string => String(s.read() ?? '').replaceAll(/ +/g, ' ');
  return { out: said(stdout), err: said(stderr), code };
}

describe('berth image prune', () => {
  it('counts what is gone, and names what stayed after all', async () => {
    const r = await prune([copy('base', 'h1'), copy('base', 'h2'), copy('old', 'h1')], {
      'job-base': { state: SUCCEEDED, steps: [{ name: 'remove', detail: 'stays on h2, h3' }] },
      'job-old': { state: FAILED, errorReason: 'IN_USE', error: 'the copies are needed after all' },
    });
    expect(r.out).toMatch(/base h1 1.5 GB goes[\s\S]*base h2 1.5 GB stays its host did not[\s\S]*old h1 1.5 GB stays/);
    expect(r.err).toBe('1.5 GB freed on 1 host\nimage old stays: the copies are needed after all\n');
    expect(r.code).toBe(1);
  });

  it('names the first of many images that are one content', async () => {
    const many = { ...copy('base', 'h1'), images: ['base', 'a:1', 'a:2', 'a:3'] };
    const r = await prune([many], { 'job-base': { state: SUCCEEDED } });
    expect(r.out).toContain('base, a:1 and 2 more h1');
  });

  it('succeeds when all that was to go is gone', async () => {
    const r = await prune([copy('base', 'h1'), copy('base', 'h2')], { 'job-base': { state: SUCCEEDED } });
    expect([r.err, r.code]).toEqual(['3 GB freed on 2 hosts\n', 0]);
  });
});
