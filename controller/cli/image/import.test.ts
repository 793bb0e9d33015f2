import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { Job, JobState } from '@berth/proto/v1/job.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { rawDisk } from '../../../test/harness/disk-files.ts';
import type { Context } from '../core/context.ts';
import { imageImport, named, transfer } from './import.ts';
import type { ByteSource } from './source/source.ts';

describe('an image that was sent', () => {
  it('gets its tags also when another has taken its name meanwhile', async () => {
    const asked: unknown[] = [];
    const answers: Record<string, unknown> = {
      importImage: { image: { id: 'image-1' }, jobId: 'job-1', uploadTicket: 't' },
      getImage: { name: 'base:1', virtualSizeBytes: 0n, copies: [], digest: '' },
    };
    const client = new Proxy({}, { get: (_, method) => method });
    const api = {
      call: async (_: unknown, method: (c: object) => string, request: unknown) => {
        asked.push([method(client), request]);
        return answers[method(client)];
      },
      async *stream() {
        yield Job.fromPartial({ id: 'job-1', state: JobState.SUCCEEDED });
      },
      upload: () => ({ sink: new PassThrough({ objectMode: true }).resume(), done: Promise.resolve() }),
    };
    const stdout = new PassThrough();
    const ctx = { api: async () => api, signal: new AbortController().signal, stdout, stderr: new PassThrough() };
    const source = { name: 'base.img', sizeBytes: 0, allocatedBytes: 0, stream: async function* () {} };
    const rest = { format: '', host: '', defaults: undefined, tags: ['stable'] };
    const live = { set() {}, end() {}, final() {} };
    await transfer(ctx as unknown as Context, live, { source: source as unknown as ByteSource, name: 'base', ...rest });
    expect(asked).toContainEqual(['tagImage', { image: 'image-1', tags: ['stable'], removeTags: [] }]);
    expect(String(stdout.read())).toContain('image base:1 imported');
  });
});

describe('an image that nobody gave a name', () => {
  it('asks for one when its file is called what no image can be', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'berth-import-test-'));
    const ctx = { clock: systemClock, signal: new AbortController().signal, finishUnread() {}, stderr: {} };
    const run = async (file: string, content: Uint8Array | string): Promise<void> => {
      await writeFile(join(dir, file), content);
      await imageImport.run(ctx as unknown as Context, [join(dir, file)], {});
    };
    await expect(run('My Disk.img', rawDisk(2 ** 20))).rejects.toThrow(
      /"My Disk" is no name for it: give one with --name$/,
    );
    await expect(run('notes.txt', 'shopping list\n')).rejects.toThrow(/^notes\.txt is not a disk image/);
    await rm(dir, { recursive: true });
  });
});

it('is told which URLs can be fetched', async () => {
  await expect(imageImport.run({} as Context, ['ftp://example.org/a.qcow2'], {})).rejects.toThrow(
    /^ftp:\/\/example\.org\/a\.qcow2 can't be fetched: images come from http and https/,
  );
});

describe('an import that a host refused', () => {
  it('names the file as the person knows it', () => {
    const refused = new ClusterError('UNSAFE_IMAGE', 'the uploaded file is truncated', {
      subject: 'the uploaded file',
    });
    expect(named(refused, 'base.qcow2')).toMatchObject({
      reason: 'UNSAFE_IMAGE',
      message: 'base.qcow2 is truncated',
    });
  });
  it('leaves all other errors as they are', () => {
    const full = new ClusterError('NO_CAPACITY', 'h1 is full');
    expect(named(full, 'base.qcow2')).toBe(full);
  });
});
