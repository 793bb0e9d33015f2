import { beforeEach, describe, expect, it, vi } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { imageCopyKey } from '@berth/shared/model/image.ts';
import type { Job } from '@berth/shared/model/job.ts';
import { AppCluster } from '../../../test/harness/app-cluster.ts';
import { ImageCopiesKeeper } from '../reconcilers/image-copies.ts';
import { Prune } from './prune.ts';

let c: AppCluster;
const RUNNING = {
  ...({ state: 'running', error: undefined, image: undefined } as const),
  ...{ doneBytes: 0, totalBytes: 0, needsSource: false },
};
const prune = () => new Prune({ ...c.life, hosts: c.sim.hosts, clock: c.sim.clock });
const keeper = (unusedMs: number) =>
  new ImageCopiesKeeper({
    ...{ state: c.life.state, jobs: c.life.jobs, hosts: c.sim.hosts, clock: c.sim.clock },
    ...{ log: console as never, unusedMs },
  });
const copies = async (name: string): Promise<string[]> => (await c.life.images.get(name)).copies.map((k) => k.host);
const verdicts = async (unusedMs = 0) =>
  Object.fromEntries(
    (await c.timed(prune().run({ unusedMs, dryRun: true }, 'test'))).map((p) => [
      `${p.images.join('+')}@${p.host}`,
      p.verdict,
    ]),
  );
const settled = async (): Promise<void> => {
  for (const job of [...c.life.state.tables.jobs.open()]) await c.ended(job.id);
};

beforeEach(async () => {
  c = await AppCluster.make();
  await c.import('base');
  for (const h of ['h1', 'h2', 'h3']) expect(await c.done(c.clone(`on-${h}`, { host: h }))).toBe('succeeded');
});
const remove = (name: string) => c.done(c.life.vms.delete(name, { force: true }, 'test'));

describe('cleaning up copies of images', () => {
  it('removes what nothing needs, and keeps what a VM needs and the last copy', async () => {
    expect(Object.values(await verdicts())).toEqual(['used', 'used', 'used']);
    await remove('on-h1');
    await remove('on-h2');
    await c.timed(prune().note());
    expect(await verdicts()).toMatchObject({ 'base@h1': 'remove', 'base@h2': 'remove', 'base@h3': 'used' });
    expect(await verdicts(60_000)).toMatchObject({ 'base@h1': 'young' });
    await c.timed(prune().run({ unusedMs: 0, dryRun: false }, 'test'));
    await settled();
    expect(await copies('base')).toEqual(['h3']);
    expect(c.sim.hosts.host(c.hostId('h1')).images.size).toBe(0);
    await remove('on-h3');
    await c.timed(prune().note());
    expect(await verdicts()).toEqual({ 'base@h3': 'kept' });
    // what was given up comes back when it is needed
    expect(await c.done(c.clone('again', { host: 'h1' }))).toBe('succeeded');
    expect(await copies('base')).toEqual(['h1', 'h3']);
  });

  it('removes the copy of one image on one host, and counts the others', async () => {
    await c.import('other', 'another disk');
    for (const h of ['h1', 'h2', 'h3']) await remove(`on-${h}`);
    await c.timed(prune().note());
    const one = { images: ['base'], hosts: ['h2'] };
    const told = await c.timed(prune().run({ unusedMs: 0, dryRun: false, ...one }, 'test'));
    expect(told.map((p) => [p.images, p.host, p.verdict])).toEqual([[['base'], 'h2', 'remove']]);
    await settled();
    expect(await copies('base')).toEqual(['h1', 'h3']);
    expect(await copies('other')).toHaveLength(1);
    // none is the last that is left, and none is taken for another
    const both = await c.timed(
      prune().run({ unusedMs: 0, dryRun: true, hosts: ['h1', 'h3'], images: ['base'] }, 'test'),
    );
    expect(both.map((p) => p.verdict).sort()).toEqual(['kept', 'remove']);
    for (const wrong of [{ images: ['nope'] }, { hosts: ['h9'] }])
      await expect(prune().run({ unusedMs: 0, dryRun: false, ...wrong }, 'test')).rejects.toMatchObject({
        reason: 'NOT_FOUND',
      });
  });

  it('keeps a copy whose content something there needs by another name of it', async () => {
    await c.import('twin');
    const base = (await c.life.images.get('base')).image.id;
    await c.life.state.update((tx) => tx.imageCopies.delete(imageCopyKey({ imageId: base, hostId: c.hostId('h1') })));
    expect(await verdicts()).toMatchObject({ 'twin@h1': 'used' });
  });

  it('keeps as many as are to be kept, and does not count those on hosts that are away', async () => {
    for (const h of ['h1', 'h2', 'h3']) await remove(`on-${h}`);
    await c.timed(prune().note());
    await c.timed(c.life.images.set('base', { keepCopies: 2 }));
    const all = Object.values(await verdicts());
    expect(all.filter((v) => v === 'remove')).toHaveLength(1);
    c.sim.hosts.host(c.hostId('h1')).up = false;
    c.sim.hosts.host(c.hostId('h1')).connected = false;
    expect(await verdicts()).toEqual({ 'base@h1': 'away', 'base@h2': 'kept', 'base@h3': 'kept' });
  });

  it('leaves one whose image a job works with, and one that the host finds in use after all', async () => {
    await remove('on-h1');
    await c.timed(prune().note());
    const host = c.sim.hosts.host(c.hostId('h1'));
    host.volumes.set('volume-by-hand', { imageDigest: 'sha256:disk', vmId: 'x' } as never);
    await c.timed(prune().run({ unusedMs: 0, dryRun: false }, 'test'));
    await settled();
    expect(await copies('base')).toEqual(['h1', 'h2', 'h3']);
    expect(host.images.size).toBe(1);
  });

  /** `on-h1` is gone, and the copy below it on its way out. */
  const evicting = async (): Promise<Job> => {
    await remove('on-h1');
    await c.timed(prune().note());
    const [gone] = (await c.timed(prune().run({ unusedMs: 0, dryRun: false }, 'test'))).filter((p) => p.jobId);
    return c.life.state.tables.jobs.get(gone!.jobId!)!;
  };
  const debts = () => [...c.life.state.tables.debts.values()].map((d) => `${d.kind} ${d.hostId === c.hostId('h1')}`);

  it('ends when a host cannot remove its copy, which it then owes', async () => {
    const host = c.sim.hosts.host(c.hostId('h1'));
    const { removeImage } = host;
    host.removeImage = async () => {
      throw new ClusterError('HYPERVISOR_UNAVAILABLE', 'libvirt does not answer');
    };
    expect(await c.ended((await evicting()).id)).toBe('succeeded');
    await c.sim.clock.advance(1_000);
    expect([await copies('base'), debts(), host.images.size]).toEqual([['h2', 'h3'], ['image true'], 1]);
    host.removeImage = removeImage;
    await c.sim.clock.advance(60_000);
    expect([debts(), host.images.size]).toEqual([[], 0]);
  });

  it('ends when its host is removed from the cluster meanwhile', async () => {
    const id = c.hostId('h1');
    const host = c.sim.hosts.host(id);
    host.removeImage = async () => {
      host.up = host.connected = false;
      await c.life.state.update((tx) => tx.hosts.delete(id));
      throw new ClusterError('HOST_UNREACHABLE', 'h1 did not answer');
    };
    expect(await c.ended((await evicting()).id)).toBe('succeeded');
    expect(await copies('base')).toEqual(['h2', 'h3']);
  });

  it('lets VMs be made of the image while a host takes its time, there too', async () => {
    const host = c.sim.hosts.host(c.hostId('h1'));
    const { removeImage } = host;
    host.removeImage = async (id) => ({ ...RUNNING, id });
    const job = await evicting();
    await c.sim.clock.advance(2_000);
    expect(await c.done(c.clone('elsewhere', { host: 'h2' }))).toBe('succeeded');
    expect(await c.done(c.clone('there', { host: 'h1' }))).toBe('succeeded');
    host.removeImage = removeImage;
    expect(await c.ended(job.id)).toBe('succeeded');
    expect([await copies('base'), debts(), host.images.size]).toEqual([['h1', 'h2', 'h3'], [], 1]);
  });

  it('asks once for each image and host, however many copies and VMs there are', async () => {
    const { state } = c.life;
    for (let i = 0; i < 30; i++) expect(await c.done(c.clone(`more-${i}`, { host: 'h2' }))).toBe('succeeded');
    const asked = [vi.spyOn(state.tables.vms, 'byImage'), vi.spyOn(state.tables.jobs, 'holders')];
    const status = vi.spyOn(c.sim.hosts, 'status');
    await c.timed(prune().run({ unusedMs: 0, dryRun: true }, 'test'));
    expect([...asked, status].map((s) => s.mock.calls.length)).toEqual([1, 1, 3]);
  });

  it('happens by itself after some time, which begins anew with each use', async () => {
    await remove('on-h1');
    const keep = keeper(120_000);
    await c.timed(keep.look());
    expect(await copies('base')).toContain('h1');
    await c.sim.clock.advance(60_000);
    expect(await c.done(c.clone('short', { host: 'h1' }))).toBe('succeeded');
    await c.timed(keep.look());
    await remove('short');
    await c.sim.clock.advance(100_000);
    await c.timed(keep.look());
    expect(await copies('base')).toContain('h1');
    await c.sim.clock.advance(121_000);
    await c.timed(keep.look());
    await settled();
    expect(await copies('base')).not.toContain('h1');
  });

  it('removes what was captured to clone a VM when nothing is based on it, all of it, and not before its clones are made', async () => {
    const { jobId, images } = await c.timed(
      c.life.captures.capture({ vm: 'on-h1', name: '', disks: [], hidden: true }, 'test'),
    );
    expect(await c.ended(jobId)).toBe('succeeded');
    await c.timed(keeper(Infinity).look());
    expect(await c.done(c.clone('twin', { image: images[0]!.id }))).toBe('succeeded');
    await c.sim.clock.advance(3_600_000);
    await c.timed(keeper(Infinity).look());
    await settled();
    expect(c.life.state.tables.images.get(images[0]!.id)).toBeDefined();
    await remove('twin');
    await c.timed(keeper(Infinity).look());
    await settled();
    expect(c.life.state.tables.images.get(images[0]!.id)).toBeUndefined();
    expect(
      c.life.state.tables.imageCopies.get(imageCopyKey({ imageId: images[0]!.id, hostId: c.hostId('h1') })),
    ).toBeUndefined();
  });
});
