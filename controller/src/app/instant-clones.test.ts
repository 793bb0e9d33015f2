/** Clones that do not wait for their image, and full ones, from the request to what people see. */
import { beforeEach, expect, it, vi } from 'vitest';
import { isEnded } from '@berth/shared/model/job.ts';
import { AppCluster } from '../../../test/harness/app-cluster.ts';
import type { Swarm } from '../distribution/swarm.ts';
import { Swarms } from '../distribution/swarms.ts';
import { JOB_KINDS, VM_KINDS } from '../alarms/kinds.ts';
import { FillingKeeper } from '../reconcilers/fillings.ts';
import { silentLog } from '../hosts/testing.ts';
import { JobsApp } from './jobs.ts';

const NEW = ['clone.instant', 'image.hashes', 'clone.full'];
let c: AppCluster;
let holder: string;
let other: string;

const tables = () => c.life.state.tables;
const fetches = () => [...tables().jobs.open()].filter((j) => j.kind === 'image.fetch');
const hostNamed = (name: string) => c.sim.hosts.host(c.hostId(name));
const step = async (jobId: string | undefined, name: string) =>
  (await c.life.jobs.view(jobId as never)).steps.find((s) => s.name === name)?.detail;

beforeEach(async () => {
  c = await AppCluster.make();
  for (const h of c.sim.hosts.all()) h.capabilities = NEW;
  await c.import('base');
  holder = (await c.life.images.get('base')).copies[0]?.host ?? '';
  other = ['h1', 'h2', 'h3'].find((h) => h !== holder) ?? '';
});

/** Nobody gives anything. */
const silence = (): void => c.sim.hosts.cut(c.hostId(holder));

it('is made on a host that lacks the image while that comes, by a job that stays', async () => {
  const { jobId } = await c.timed(c.clone('web', { host: other, kind: 'instant' }));
  expect(await c.ended(jobId)).toBe('succeeded');
  expect(await step(jobId, 'image')).toBe(`comes to ${other} meanwhile`);
  for (const f of fetches()) expect(await c.ended(f.id)).toBe('succeeded');
  expect((await c.life.images.get('base')).copies.map((k) => k.host)).toContain(other);
  expect((await c.life.vms.get('web')).fillings).toEqual([undefined]);
});

it('is what a clone is by itself where a holder can vouch for the parts, and waits for the whole where none can', async () => {
  const plain = await c.timed(c.clone('web', { host: other }));
  await c.ended(plain.jobId);
  expect(await step(plain.jobId, 'image')).toBe(`comes to ${other} meanwhile`);
  const third = ['h1', 'h2', 'h3'].find((h) => h !== holder && h !== other) ?? '';
  for (const h of c.sim.hosts.all()) h.capabilities = h.name === third ? NEW : [];
  const old = await c.timed(c.clone('db', { host: third }));
  await c.ended(old.jobId);
  expect(await step(old.jobId, 'image')).toMatch(/^fetched from/);
});

it('waits for the whole on a host whose agent is too old, also when it was to be instant', async () => {
  hostNamed(other).capabilities = [];
  const { jobId } = await c.timed(c.clone('web', { host: other, kind: 'instant' }));
  expect(await c.ended(jobId)).toBe('succeeded');
  expect(await step(jobId, 'image')).toMatch(/^fetched from/);
});

it('tells how much is there, refuses to cancel what it needs, and goes on being filled when that job is lost', async () => {
  const made = await c.timed(c.clone('web', { host: other, kind: 'instant' }));
  silence();
  expect(await c.ended(made.jobId)).toBe('succeeded');
  await c.sim.clock.advance(20_000);
  const { fillings } = await c.life.vms.get('web');
  expect(fillings[0]).toMatchObject({ imageName: 'base', from: '' });
  expect(fillings[0]?.waiting).toMatch(/^no host that has image base can serve it now/);
  const [job] = fetches();
  const jobs = new JobsApp({ state: c.life.state, jobs: c.life.jobs });
  await expect(jobs.cancel(job!.id)).rejects.toMatchObject({
    message: expect.stringMatching(/cannot be cancelled: vm web reads the image/) as string,
  });
  await c.timed(c.life.jobs.cancel(job!.id));
  for (let n = 0; n < 200 && !isEnded(tables().jobs.get(job!.id)!.state); n++) await c.sim.clock.advance(1_000);
  expect(fetches()).toEqual([]);
  expect((await c.life.vms.get('web')).fillings[0]?.waiting).toBe('nobody copies it now');
  const keeper = new FillingKeeper({ state: c.life.state, clock: c.sim.clock, log: silentLog });
  await c.timed(keeper.look(c.sim.hosts));
  expect(fetches().map((j) => j.subject)).toEqual(['base']);
});

it('leaves the copying to a disk that was detached meanwhile', async () => {
  for (const h of c.sim.hosts.all()) h.capabilities = [...NEW, 'volume.data', 'domain.devices'];
  const made = await c.timed(c.clone('web', { host: other, kind: 'instant' }));
  silence();
  expect(await c.ended(made.jobId)).toBe('succeeded');
  const detached = await c.timed(c.life.volumes.detach('web/vda', { name: 'data', force: true }, 'test'));
  expect(await c.ended(detached.jobId)).toBe('succeeded');
  const [job] = fetches();
  const jobs = new JobsApp({ state: c.life.state, jobs: c.life.jobs });
  await expect(jobs.cancel(job!.id)).rejects.toMatchObject({
    message: expect.stringMatching(/cannot be cancelled: volume data reads the image/) as string,
  });
  await c.timed(c.life.jobs.cancel(job!.id));
  for (let n = 0; n < 200 && !isEnded(tables().jobs.get(job!.id)!.state); n++) await c.sim.clock.advance(1_000);
  const keeper = new FillingKeeper({ state: c.life.state, clock: c.sim.clock, log: silentLog });
  await c.timed(keeper.look(c.sim.hosts));
  expect(fetches().map((j) => j.subject)).toEqual(['base']);
});

it('is not written anew while its image is on its way, and its disk is called by its name', async () => {
  for (const h of c.sim.hosts.all()) h.capabilities = [...NEW, 'volume.data', 'volume.rewrite'];
  const made = await c.timed(c.clone('web', { host: other, kind: 'instant' }));
  silence();
  expect(await c.ended(made.jobId)).toBe('succeeded');
  const words =
    /^disk vda of vm web rests on image base, of which 0 % is on h\d yet\. Try again when all of it is there/;
  const { volumes } = c.life;
  for (const begin of [() => volumes.convert('web-vda', 'raw', 'test'), () => volumes.sparsify('web-vda', 'test')])
    await expect(c.timed(begin())).rejects.toMatchObject({
      reason: 'BAD_STATE',
      message: expect.stringMatching(words),
    });
  expect(await c.ended((await c.timed(volumes.wipe('web-vda', 'test'))).jobId)).toBe('succeeded');
});

it('gets its image again when somebody removed that on its host by hand, as long as another host has it', async () => {
  const made = await c.timed(c.clone('web', { host: other, kind: 'linked' }));
  expect(await c.ended(made.jobId)).toBe('succeeded');
  const { id: imageId, digest } = (await c.life.images.get('base')).image;
  const keeper = new FillingKeeper({ state: c.life.state, clock: c.sim.clock, log: silentLog });
  const told = { complete: new Set(['images']), state: 'up' };
  const has = (...names: string[]) => ({
    status: (id: string) => ({ ...told, imageDigests: new Set(names.some((n) => c.hostId(n) === id) ? [digest] : []) }),
  });
  const look = (...names: string[]) => c.timed(keeper.look(has(...names) as never));
  const copies = () =>
    tables()
      .imageCopies.byImage(imageId)
      .map((k) => tables().hosts.get(k.hostId)?.name);
  const both = [holder, other].sort();
  await look(holder);
  await look(holder, other);
  await look(holder);
  expect([copies().sort(), fetches()]).toEqual([both, []]);
  hostNamed(other).images.delete(digest!);
  await look(holder);
  expect([copies(), fetches().map((j) => j.subject)]).toEqual([[holder], ['base']]);
  expect(await c.ended(fetches()[0]!.id)).toBe('succeeded');
  expect(copies().sort()).toEqual(both);
  // of the last copies nothing is forgotten: somebody may put the file back
  for (let n = 0; n < 3; n++) await look();
  expect(copies().sort()).toEqual(both);
});

it('raises an alarm when the VM is paused for what nobody gives', async () => {
  const made = await c.timed(c.clone('web', { host: other, kind: 'instant' }));
  silence();
  await c.ended(made.jobId);
  const { vm } = await c.life.vms.get('web');
  const kind = VM_KINDS.find((k) => k.kind === 'vm-waits-for-image');
  const seen = { power: 'paused', reason: 'io-error' };
  const hosts = { ...c.sim.hosts, vm: () => seen, operation: () => undefined } as never;
  const world = { tables: tables(), hosts, ownDisk: undefined, dataDir: '', nowMs: 0, strays: new Map() };
  expect(kind?.look(vm, world, false)).toMatchObject({
    message: /* */ expect.stringContaining('waits for image base') as string,
  });
});

it('knows after a restart of the controller who reads the image from whom', async () => {
  hostNamed(other).endless = true;
  await c.ended((await c.timed(c.clone('web', { host: other, kind: 'instant' }))).jobId);
  const look = vi.spyOn(Swarms.prototype, 'swarm');
  await c.restart();
  await c.sim.clock.advance(10_000);
  const known = look.mock.results.at(-1)!.value as Swarm;
  expect(known.members.get(c.hostId(other))?.from).toBe(c.hostId(holder));
});

it('tells of a host that gives something else than the image, and asks it again now and then, another one at once', async () => {
  hostNamed(other).endless = true;
  const asked = vi.spyOn(hostNamed(holder), 'openExport');
  const made = await c.timed(c.clone('web', { host: other, kind: 'instant' }));
  expect(await c.ended(made.jobId)).toBe('succeeded');
  const [job] = fetches();
  const operationId = `${job!.id}.fetch`;
  const why = 'gives something else than the image (chunk 47 does not fit its hash)';
  const given = () => hostNamed(other).operation(operationId)?.needsSource === false;
  for (let seconds = 0; seconds < 300; seconds++) {
    if (given()) hostNamed(other).findWrong(operationId, c.hostId(holder), why);
    await c.sim.clock.advance(1_000);
  }
  // longer each time: 3 + 6 + … + 27 s, then each 30 s, and not each second
  expect(asked.mock.calls.length).toBeGreaterThan(8);
  expect(asked.mock.calls.length).toBeLessThan(20);
  const { fillings } = await c.life.vms.get('web');
  expect(fillings[0]?.waiting).toBe(`no host that has image base can serve it now (${holder} ${why})`);
  const look = { tables: tables(), hosts: c.sim.hosts, ownDisk: undefined, dataDir: '', nowMs: 0, strays: new Map() };
  const kind = JOB_KINDS.find((k) => k.kind === 'image-source-wrong');
  expect(kind?.look(job!, look as never, false)).toMatchObject({
    message: `host ${holder} ${why}: its copy of image base is damaged, and nothing is taken from it`,
  });
  const third = ['h1', 'h2', 'h3'].find((h) => h !== holder && h !== other) ?? '';
  hostNamed(other).endless = false;
  const { id: imageId, digest } = (await c.life.images.get('base')).image;
  await c.life.state.update((tx) => tx.imageCopies.put({ imageId, hostId: c.hostId(third), fileBytes: 1 }));
  hostNamed(third).images.set(digest!, hostNamed(holder).images.get(digest!)!);
  if (given()) hostNamed(other).findWrong(operationId, c.hostId(holder), why);
  expect(await c.ended(job!.id)).toBe('succeeded');
  expect((await c.life.vms.get('web')).fillings).toEqual([undefined]);
});

it('is a full one: a copy that rests on nothing, so its image can go', async () => {
  const { jobId } = await c.timed(c.clone('own', { host: other, kind: 'full' }));
  expect(await c.ended(jobId)).toBe('succeeded');
  expect(await step(jobId, 'volume')).toContain('copy of base');
  const { vm, copyNames, imageNames } = await c.life.vms.get('own');
  expect([copyNames, imageNames]).toEqual([['base'], ['']]);
  expect(hostNamed(other).volumes.get(vm.spec.disks[0]!.volumeId)?.imageDigest).toBeUndefined();
  expect(await c.ended((await c.timed(c.life.images.delete('base', 'test'))).jobId)).toBe('succeeded');
});

it('is refused when its kind is none', async () => {
  await expect(c.timed(c.clone('web', { kind: 'quick' }))).rejects.toMatchObject({
    message: '"quick" is no kind of clone: linked, instant, full',
  });
});
