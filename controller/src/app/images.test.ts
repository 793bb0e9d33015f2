import { PassThrough, Readable } from 'node:stream';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { AgentClient } from '../hosts/agent-client.ts';
import { uploadIdOf, type ImportParams } from '../jobs/image-import.ts';
import { AppCluster } from '../../../test/harness/app-cluster.ts';

let c: AppCluster;
const said = async (answer: Promise<unknown>): Promise<string> => {
  const e = (await c.timed(answer).catch((x: unknown) => x)) as { reason?: string; message?: string };
  return `${e.reason}: ${e.message?.replace(/job-\w+/g, 'JOB')}`;
};
const begin = (name: string, fileBytes: number) =>
  c.timed(c.life.images.import({ name, fileBytes, allocatedBytes: fileBytes, format: '', host: '' }, 'test'));
const about = (made: Awaited<ReturnType<typeof begin>>) => ({
  ...{ imageId: made.view.image.id, ticket: made.uploadTicket, user: 'test' },
});
const bytes = (text: string): Readable => Readable.from([Buffer.from(text)]);
const errorOf = async (jobId: Parameters<AppCluster['ended']>[0]): Promise<string> => {
  await c.ended(jobId);
  return (await c.life.jobs.view(jobId!)).error?.message ?? '';
};

beforeEach(async () => {
  c = await AppCluster.make();
});

describe('an import', () => {
  it('ends with an image that has a digest and a copy', async () => {
    expect(await c.import('base', 'disk')).toBe('succeeded');
    const view = await c.life.images.get('base');
    expect(view.image).toMatchObject({ state: 'available', digest: 'sha256:disk', virtualSizeBytes: 2 ** 30 });
    expect(view.copies).toHaveLength(1);
  });

  it('is refused when the name, the size or the format is wrong', async () => {
    await c.import('base');
    const ask = (o: object) =>
      said(
        c.life.images.import({ name: 'x', fileBytes: 1, allocatedBytes: 2 ** 53, format: '', host: '', ...o }, 'test'),
      );
    expect([
      await ask({ name: 'base' }),
      await ask({ name: '../x' }),
      await ask({ fileBytes: 0 }),
      await ask({ fileBytes: -1 }),
      await ask({ fileBytes: 2 ** 50 }),
      await ask({ fileBytes: 2 ** 40 }),
      await ask({ format: 'iso' }),
      await ask({ host: 'h9' }),
    ]).toMatchInlineSnapshot(`
      [
        "ALREADY_EXISTS: image base exists already. Choose another name (--name), or say which version of it this is (--name base:2)",
        "INVALID_ARGUMENT: "../x" cannot be the name of an image: use up to 63 small letters, digits and hyphens, with a letter or digit at both ends (like web-01)",
        "INVALID_ARGUMENT: the file for image x is empty",
        "INVALID_ARGUMENT: the size of the file is not a number",
        "INVALID_ARGUMENT: the file for image x is larger than 16 TiB",
        "NO_CAPACITY: no host can receive the image: h1 disk 100 GiB free of 2 TiB wanted (the file and the image made from it); h2 disk 100 GiB free of 2 TiB wanted (the file and the image made from it); h3 disk 100 GiB free of 2 TiB wanted (the file and the image made from it)",
        "INVALID_ARGUMENT: "iso" is no known format: raw, qcow2, vmdk, vdi, vhdx, vpc",
        "NOT_FOUND: host h9 does not exist. Did you mean h1 or h2 or h3?",
      ]
    `);
  });

  it('of a file with holes asks for room for what is not holes, and never for more than the file', async () => {
    const large = { name: 'large', fileBytes: 2 ** 40, format: 'raw', host: '' };
    expect(await said(c.life.images.import({ ...large, allocatedBytes: 51 * 2 ** 30 }, 'test'))).toContain(
      '102 GiB wanted',
    );
    const made = await c.timed(c.life.images.import({ ...large, allocatedBytes: 2 ** 30 }, 'test'));
    expect(c.life.state.tables.jobs.get(made.jobId)?.params).toMatchObject({ allocatedBytes: 2 ** 30 });
    const lie = await c.timed(
      c.life.images.import({ ...large, name: 'lie', fileBytes: 4, allocatedBytes: 2 ** 50 }, 'test'),
    );
    expect(c.life.state.tables.jobs.get(lie.jobId)?.params).toMatchObject({ allocatedBytes: 4 });
  });

  it('takes runs of zeros as counts, which count as bytes', async () => {
    const made = await begin('base', 8);
    const pieces = Readable.from([Buffer.from('disk'), 4]);
    expect(await c.timed(c.life.images.upload(about(made), pieces))).toBe(8);
    const more = await begin('more', 8);
    const toomuch = Readable.from([Buffer.from('disk'), 5]);
    expect(await said(c.life.images.upload(about(more), toomuch))).toContain('more bytes came');
  });

  it('takes one upload, with its own ticket', async () => {
    const { images } = c.life;
    const made = await begin('base', 4);
    for (const other of [{ ticket: 'guess' }, { user: 'other' }])
      expect(await said(images.upload({ ...about(made), ...other }, bytes('disk')))).toContain('PERMISSION_DENIED');
    expect(await c.timed(images.upload(about(made), bytes('disk')))).toBe(4);
    expect(await said(images.upload(about(made), bytes('disk')))).toMatch(/used already|no import/);
    expect(await c.ended(made.jobId)).toBe('succeeded');
  });

  it.each([
    ['too short', 'dis'],
    ['too long', 'disks'],
  ])('fails and leaves nothing when the upload is %s', async (_, text) => {
    const made = await begin('base', 4);
    await said(c.life.images.upload(about(made), bytes(text)));
    expect(await errorOf(made.jobId)).toContain('the upload of image base broke off');
    expect(c.life.state.tables.images.size).toBe(0);
    expect(c.sim.hosts.all().flatMap((h) => [...h.uploads.keys(), ...h.images.keys()])).toEqual([]);
  });

  it('blames the sender that hung up, not the host that was cut off then', async () => {
    const agent = c.sim.hosts.agent.bind(c.sim.hosts);
    const upload: AgentClient['upload'] = async (_, data) => {
      await data.toArray().catch(() => undefined);
      throw new ClusterError('HOST_UNREACHABLE', 'host h1 did not answer (the connection to it has ended)');
    };
    vi.spyOn(c.sim.hosts, 'agent').mockImplementation((id) => {
      const real = agent(id);
      vi.spyOn(real, 'upload').mockImplementation(upload);
      return real;
    });
    const made = await begin('base', 4);
    const sender = new PassThrough();
    const uploading = c.life.images.upload(about(made), sender);
    sender.write('di');
    sender.destroy();
    expect(await said(uploading)).toBe('CANCELLED: the sender hung up');
    expect(await errorOf(made.jobId)).toBe('the upload of image base broke off (the sender hung up). Import it again.');
  });

  it('fails when no bytes come', async () => {
    const made = await begin('base', 4);
    expect(await errorOf(made.jobId)).toContain('broke off');
    expect(c.life.state.tables.images.size).toBe(0);
  });

  it('fails at once when the controller was killed while the bytes came', async () => {
    const made = await begin('base', 4);
    await c.sim.clock.advance(5_000);
    await c.restart();
    const restartedAt = c.sim.clock.now();
    expect(await errorOf(made.jobId)).toContain('the upload of image base broke off (the host has not received it)');
    expect(c.sim.clock.now() - restartedAt).toBeLessThan(5_000);
    expect(c.life.state.tables.images.size).toBe(0);
  });

  it('goes on when the controller was killed after the bytes had come', async () => {
    const made = await begin('base', 4);
    await c.sim.clock.advance(5_000);
    const { hostId } = c.life.state.tables.jobs.get(made.jobId)?.params as unknown as ImportParams;
    c.sim.hosts.host(hostId ?? '').uploads.set(uploadIdOf(made.jobId), 'disk');
    await c.restart();
    expect(await c.ended(made.jobId)).toBe('succeeded');
  });

  it('of a file that is no image fails in the words of the host', async () => {
    const made = await begin('notes', 4);
    await c.timed(c.life.images.upload(about(made), bytes('text')));
    expect(await errorOf(made.jobId)).toBe('it looks like text');
  });
});

describe('an image', () => {
  it('is not deleted while disks are based on it', async () => {
    await c.import('base');
    expect(await c.done(c.clone('web'))).toBe('succeeded');
    expect(await said(c.life.images.delete('base', 'test'))).toBe(
      'IN_USE: image base is in use: the disks of vm web are based on it. Delete it first.',
    );
    expect(await c.done(c.life.vms.delete('web', { force: false }, 'test'))).toBe('succeeded');
    expect(await c.ended((await c.timed(c.life.images.delete('base', 'test'))).jobId)).toBe('succeeded');
    expect(c.sim.hosts.all().flatMap((h) => [...h.images.keys()])).toEqual([]);
  });

  it('that a host serves wrongly is fetched from another one, and the job says from which', async () => {
    await c.import('base');
    const [first = ''] = (await c.life.images.get('base')).copies.map((k) => k.host);
    const [second = '', third = ''] = ['h1', 'h2', 'h3'].filter((h) => h !== first);
    expect(await c.done(c.clone('one', { host: second }))).toBe('succeeded');
    for (const bad of [first, second]) {
      for (const h of [first, second]) c.sim.hosts.host(c.hostId(h)).servesGarbage = h === bad;
      const { jobId } = await c.timed(c.clone('two', { host: third }));
      expect(await c.ended(jobId)).toBe('succeeded');
      const { steps } = await c.life.jobs.view(jobId!);
      const good = bad === first ? second : first;
      expect(steps.find((s) => s.name === 'image')?.detail).toBe(`fetched from ${good}, 17 MB, hash ok`);
      expect(await c.done(c.life.vms.delete('two', { force: false }, 'test'))).toBe('succeeded');
      await c.forgetCopy('base', third);
    }
  });

  it('that every host serves wrongly is not taken, and the job ends', async () => {
    await c.import('base');
    const [first = ''] = (await c.life.images.get('base')).copies.map((k) => k.host);
    c.sim.hosts.host(c.hostId(first)).servesGarbage = true;
    const other = ['h1', 'h2', 'h3'].find((h) => h !== first) ?? '';
    const { jobId } = await c.timed(c.clone('web', { host: other }));
    expect(await errorOf(jobId)).toMatch(/what arrived is something else/);
    expect(c.sim.hosts.host(c.hostId(other)).contents()).toMatchObject({ images: [], volumes: [], running: [] });
  });

  it('shares its file with an image of the same content, until the last of them goes', async () => {
    await c.import('one', 'same');
    await c.import('two', 'same');
    const files = () => c.sim.hosts.all().reduce((n, h) => n + h.images.size, 0);
    const before = files();
    expect(await c.ended((await c.timed(c.life.images.delete('one', 'test'))).jobId)).toBe('succeeded');
    expect(files()).toBe(before);
    expect(await c.ended((await c.timed(c.life.images.delete('two', 'test'))).jobId)).toBe('succeeded');
    expect(files()).toBe(0);
  });
});
