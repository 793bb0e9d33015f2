import { beforeEach, describe, expect, it } from 'vitest';
import { AppCluster } from '../../../test/harness/app-cluster.ts';

let c: AppCluster;
const exports = () => c.life.exports;
const { signal } = new AbortController();
const said = async (answer: Promise<unknown>): Promise<string> => {
  const e = (await c.timed(answer).catch((x: unknown) => x)) as { reason?: string; message?: string };
  return `${e.reason}: ${e.message}`;
};
const begin = async () => ({ ...(await c.timed(exports().image('base', 'qcow2', 'test'))), user: 'test' });
async function drain(t: Awaited<ReturnType<typeof begin>>, offset = 0): Promise<string> {
  let all = '';
  for await (const piece of exports().read(t, offset, signal)) all += Buffer.from(piece as Uint8Array).toString();
  return all;
}
const files = () => c.sim.hosts.all().flatMap((h) => [...h.uploads.keys()]);

beforeEach(async () => {
  c = await AppCluster.make();
  await c.import('base');
});

describe('an export', () => {
  it('is read from any position with its ticket, by who began it, until it was finished', async () => {
    const t = await begin();
    expect(await c.timed(exports().open(t, signal))).toMatchObject({ sha256: 'sum', fileBytes: 19 });
    expect([await drain(t), await drain(t, 8)]).toEqual(['file of sha256:disk', 'sha256:disk']);
    expect(await said(drain({ ...t, ticket: 'guess' }))).toContain('PERMISSION_DENIED');
    expect(await said(drain({ ...t, user: 'other' }))).toContain('PERMISSION_DENIED');
    expect(await said(drain(t, 20))).toContain('the file ends at 19');
    exports().finish(t);
    expect(await said(drain(t))).toContain('NOT_FOUND');
    expect(await c.ended(t.jobId)).toBe('succeeded');
    expect(await said(exports().open(t, signal))).toContain('NOT_FOUND');
    expect(files()).toEqual([]);
  });

  it('that nobody fetches ends after some time, and leaves nothing; so does one that is cancelled', async () => {
    const t = await begin();
    await c.timed(exports().open(t, signal));
    await c.timed(c.life.jobs.cancel(t.jobId));
    expect(await c.ended(t.jobId)).toBe('cancelled');
    expect(await said(drain(t))).toContain('NOT_FOUND');
    const second = await begin();
    expect(await c.ended(second.jobId)).toBe('cancelled');
    expect((await c.life.jobs.view(second.jobId)).error?.message).toContain('nobody fetched the file');
    expect(files()).toEqual([]);
  });

  it('keeps its image from being deleted, and is refused when no host that has it answers', async () => {
    const t = await begin();
    await c.timed(exports().open(t, signal));
    expect(await said(c.life.images.delete('base', 'test'))).toContain('RESOURCE_BUSY');
    exports().finish(t);
    await c.ended(t.jobId);
    for (const h of c.sim.hosts.all()) Object.assign(h, { up: false, connected: false });
    const lost = await begin();
    expect(await c.ended(lost.jobId)).toBe('failed');
    // also to who asks only after it has failed
    expect(await said(exports().open(lost, signal))).toMatch(/^HOST_UNREACHABLE: .*none of them answers now/);
    expect(await said(exports().open({ ...lost, ticket: 'guess' }, signal))).toContain('PERMISSION_DENIED');
    expect(await said(exports().image('base', 'iso', 'test'))).toContain('an image is not exported as "iso"');
  });
});

describe('an export of a volume', () => {
  const volume = (name: string, format = 'vdi') => exports().volume(name, format, 'test');
  it('is read with its ticket, and not made of what a guest writes, of a pool, or as what is not known', async () => {
    const made = { format: '', preallocation: '', clusterBytes: 0, lazyRefcounts: false, image: '', labels: {} };
    const create = { ...made, name: 'data', sizeBytes: 2 ** 30, host: 'h1', pool: '' };
    await c.ended((await c.timed(c.life.volumes.create(create, 'test'))).jobId);
    await c.ended((await c.timed(c.clone('web'))).jobId);
    await c.done(c.life.vms.start('web', 'test'));
    expect([await said(volume('web-vda')), await said(volume('data', 'ova')), await said(volume('none'))])
      .toMatchInlineSnapshot(`
      [
        "BAD_STATE: disk vda is one of vm web, which is running. Stop it first (berth vm stop web), or take a copy of one moment while it runs: berth image capture web --name NAME, then berth image export NAME FILE",
        "INVALID_ARGUMENT: no file of a volume is made as "ova": raw, qcow2, vmdk, vdi, vhdx",
        "NOT_FOUND: volume none does not exist. See: berth volume list",
      ]
    `);
    const t = { ...(await c.timed(volume('data'))), user: 'test' };
    expect(await c.timed(exports().open(t, signal))).toMatchObject({ virtualSizeBytes: 2 ** 30 });
    expect(await drain(t)).toMatch(/^file of volume-/);
    exports().finish(t);
    expect(await c.ended(t.jobId)).toBe('succeeded');
    expect(await said(exports().open(t, signal))).toContain('NOT_FOUND');
    expect(files()).toEqual([]);
  });

  it('keeps its guest off, and itself from being deleted, until the file is made, and no longer', async () => {
    await c.ended((await c.timed(c.clone('web', { host: 'h1' }))).jobId);
    const begun = volume('web-vda');
    const start = c.life.vms.start('web', 'test');
    expect(await said(start)).toMatch(/^RESOURCE_BUSY: .*volume\.export/);
    const t = { ...(await c.timed(begun)), user: 'test' };
    await c.timed(exports().open(t, signal));
    expect(await c.done(c.life.vms.start('web', 'test'))).toBe('succeeded');
    expect(await drain(t)).toMatch(/^file of volume-/);
    exports().finish(t);
    expect(await c.ended(t.jobId)).toBe('succeeded');
  });
});
