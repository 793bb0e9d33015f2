/** Two people at once at images, volumes and clones: one of them wins, the other is told who, and no half is left. Simulated hosts. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BatchRow } from '@berth/proto/v1/batch.ts';
import { CloneVmRequest } from '@berth/proto/v1/vm.ts';
import { CreateVolumeRequest } from '@berth/proto/v1/volume.ts';
import { isClusterError, type ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { differences } from '../harness/inventory-check.ts';
import { Operator } from '../harness/operator.ts';

const HOSTS = ['h1', 'h2', 'h3'];
const MIB = 2n ** 20n;
let c: Cluster;
let op: Operator;

beforeAll(async () => {
  c = await Cluster.start();
  for (const h of HOSTS) await c.addSimulated(h);
  await c.waitUp(...HOSTS);
  op = await Operator.of(c);
  for (const name of ['base', 'other']) await done(op.import(name, rawDisk(2 ** 20 * (name === 'base' ? 1 : 2))));
});
afterAll(async () => {
  op?.close();
  await c?.stop();
});

type Answer = Promise<{ readonly jobId: string }>;
/** How a request ended: `succeeded`, or what its refusal, or the error of its job, says. */
interface Outcome {
  readonly reason: string;
  readonly message: string;
}
async function outcome(answer: Answer): Promise<Outcome> {
  try {
    const { jobId } = await answer;
    const reason = jobId === '' ? 'nothing to do' : await op.ended(jobId);
    const message = reason === 'succeeded' || jobId === '' ? '' : (await job(jobId)).error;
    return { reason, message };
  } catch (e) {
    if (!isClusterError(e)) throw e;
    return { reason: (e as ClusterError).reason, message: (e as ClusterError).message };
  }
}
const job = (id: string) => op.api.call(op.api.jobs, (j) => j.getJob, { job: id });
async function done(answer: Answer): Promise<void> {
  expect(await outcome(answer)).toEqual({ reason: 'succeeded', message: '' });
}
const all = (answers: readonly Answer[]): Promise<Outcome[]> => Promise.all(answers.map(outcome));
const reasons = (told: readonly Outcome[]): string[] => told.map((o) => o.reason).sort();

/** One has won; each other was refused in one line that names what it was about. */
function oneWinner(told: readonly Outcome[], refusal: RegExp, names: RegExp): void {
  const lost = told.filter((o) => o.reason !== 'succeeded' && o.reason !== 'nothing to do');
  expect(told.length - lost.length, JSON.stringify(told)).toBeGreaterThanOrEqual(1);
  for (const { reason, message } of lost) {
    expect(reason).toMatch(refusal);
    expect(message).toMatch(names);
    expect(
      message.split('\n').filter((line) => names.test(line)),
      message,
    ).not.toEqual([]);
  }
}

const volumes = {
  make: (name: string, host = 'h1'): Answer =>
    op.api.call(
      op.api.volumes,
      (v) => v.createVolume,
      CreateVolumeRequest.fromPartial({ name, host, sizeBytes: 4n * MIB }),
    ),
  move: (volume: string, host: string): Answer =>
    op.api.call(op.api.volumes, (v) => v.moveVolume, { volume, pool: '', host, full: false }),
  resize: (volume: string, sizeBytes: bigint): Answer =>
    op.api.call(op.api.volumes, (v) => v.resizeVolume, { volume, sizeBytes, shrink: false }),
  attach: (volume: string, vm: string): Answer =>
    op.api.call(op.api.volumes, (v) => v.attachVolume, { volume, vm, bus: '', target: '' }),
  detach: (volume: string): Answer =>
    op.api.call(op.api.volumes, (v) => v.detachVolume, { volume, name: '', force: true }),
  delete: (volume: string): Answer => op.api.call(op.api.volumes, (v) => v.deleteVolume, { volume }),
  get: (volume: string) => op.api.call(op.api.volumes, (v) => v.getVolume, { volume }),
};
const capture = (vm: string, name: string): Answer =>
  op.api.call(op.api.captures, (x) => x.captureImage, { vm, name, disks: [], hidden: false });
const push = (image: string, hosts: string[]) =>
  op.api.call(op.api.push, (x) => x.pushImage, { image, hosts, all: false });
const prune = (images: string[]) =>
  op.api.call(op.api.images, (x) => x.pruneImages, { unusedForMs: 0n, dryRun: false, images, hosts: [] });
const getImage = (image: string) => op.api.call(op.api.images, (x) => x.getImage, { image });
const batch = (names: string[], address: (i: number) => string, atomic: boolean): Answer =>
  op.api.call(op.api.batches, (b) => b.cloneVms, {
    all: CloneVmRequest.fromPartial({ image: 'base', memoryBytes: 64n * MIB }),
    rows: names.map((name, i) => BatchRow.fromPartial({ name, address: address(i) })),
    ...{ dryRun: false, atomic, addressRange: '', firstVncPort: 0, vm: '', snapshot: '' },
  });

describe('two people at once', () => {
  it('push the same image to hosts that overlap: each host has one copy, by one job', async () => {
    const both = await Promise.all([push('base', ['h1', 'h2']), push('base', ['h2', 'h3'])]);
    const byHost = new Map<string, Set<string>>();
    for (const { host, jobId } of both.flatMap((p) => p.pushes))
      if (jobId !== '') byHost.set(host, (byHost.get(host) ?? new Set<string>()).add(jobId));
    expect(byHost.get('h2')?.size).toBe(1);
    for (const ids of byHost.values()) for (const id of ids) expect(await op.ended(id)).toBe('succeeded');
    expect((await getImage('base')).copies.map((k) => k.host).sort()).toEqual(HOSTS);
  });

  it('delete an image of which the other makes a clone, a capture, an export or a push: whole, or gone', async () => {
    for (const begin of [
      () => op.clone('d-clone', { image: 'd' }),
      () => op.api.call(op.api.exports, (x) => x.exportImage, { image: 'd', format: 'raw' }),
      () => push('d', ['h1', 'h2', 'h3']).then(({ pushes }) => ({ jobId: pushes.find((p) => p.jobId)?.jobId ?? '' })),
    ]) {
      await done(op.import('d', rawDisk(3 * 2 ** 20)));
      const begun = begin().catch((e: unknown) => e as ClusterError);
      const deleted = await outcome(op.deleteImage('d'));
      const started = await begun;
      expect(deleted.reason).toMatch(/^(succeeded|IN_USE|RESOURCE_BUSY)$/);
      if (deleted.reason !== 'succeeded') expect(deleted.message).toMatch(/^(image )?d\b.*(job-|vm )/);
      if (isClusterError(started)) expect(started.reason).toMatch(/^(NOT_FOUND|RESOURCE_BUSY|BAD_STATE)$/);
      else if (started.jobId !== '') {
        // nobody fetches an export here
        await op.cancel(started.jobId).catch(() => undefined);
        expect(await op.ended(started.jobId, 20_000)).toMatch(/^(succeeded|CANCELLED)$/);
      }
      await c.quiet(); // a push is a job for each host
      await outcome(op.delete('d-clone'));
      await outcome(op.deleteImage('d'));
      await expect(getImage('d')).rejects.toMatchObject({ reason: 'NOT_FOUND' });
    }
  });

  it('capture under one name: one image, and the other is told', async () => {
    await done(op.clone('cap-a'));
    await done(op.clone('cap-b'));
    const told = await all([capture('cap-a', 'golden:1'), capture('cap-b', 'golden:1'), capture('cap-a', 'golden:1')]);
    oneWinner(told, /^(ALREADY_EXISTS|RESOURCE_BUSY)$/, /golden:1|vm cap-a/);
    expect(reasons(told).filter((r) => r === 'succeeded')).toHaveLength(1);
    expect(await getImage('golden:1')).toMatchObject({ name: 'golden:1' });
  });

  it('move one volume, and resize it meanwhile: it lies in one place, with one size', async () => {
    await done(volumes.make('mover'));
    const told = await all([
      ...[volumes.move('mover', 'h2'), volumes.move('mover', 'h3'), volumes.resize('mover', 8n * MIB)],
      ...[volumes.move('mover', 'h2'), volumes.delete('mover')],
    ]);
    oneWinner(told, /^(RESOURCE_BUSY|NOT_FOUND)$/, /mover/);
    await outcome(volumes.delete('mover'));
    await expect(volumes.get('mover')).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  it('attach one volume to two VMs: one has it', async () => {
    for (let n = 0; n < 3; n++) {
      await done(volumes.make(`shared-${n}`));
      for (const vm of ['at-a', 'at-b']) await outcome(op.clone(vm, { host: 'h1' }));
      const told = await all([volumes.attach(`shared-${n}`, 'at-a'), volumes.attach(`shared-${n}`, 'at-b')]);
      expect(reasons(told).filter((r) => r === 'succeeded')).toHaveLength(1);
      oneWinner(told, /^(RESOURCE_BUSY|NOT_FOUND|IN_USE|BAD_STATE)$/, new RegExp(`shared-${n}`));
      const vms = await Promise.all(['at-a', 'at-b'].map((vm) => op.api.call(op.api.vms, (v) => v.getVm, { vm })));
      const disks = vms.flatMap((vm) => vm.spec?.disks ?? []).map((d) => d.volumeId);
      expect(new Set(disks).size).toBe(disks.length);
    }
  });

  it('import one file under two names: two images, with one copy of it', async () => {
    const file = rawDisk(5 * 2 ** 20);
    const told = await all([op.import('twin-a', file), op.import('twin-b', file)]);
    expect(reasons(told)).toEqual(['succeeded', 'succeeded']);
    const [a, b] = await Promise.all([getImage('twin-a'), getImage('twin-b')]);
    expect(a.digest).toBe(b.digest);
    expect((await all([op.deleteImage('twin-a'), op.deleteImage('twin-b')])).map((o) => o.reason)).toEqual([
      ...['succeeded', 'succeeded'],
    ]);
  });

  it('prune what the other clones: the clone has its image', async () => {
    for (let n = 0; n < 3; n++) {
      await push('other', HOSTS);
      await c.quiet();
      const [cloned] = await Promise.all([
        outcome(op.clone(`pruned-${n}`, { image: 'other', host: 'h3' })),
        prune(['other']),
      ]);
      expect(cloned).toEqual({ reason: 'succeeded', message: '' });
      await c.quiet();
      expect((await getImage('other')).copies.map((k) => k.host)).toContain('h3');
      await done(op.delete(`pruned-${n}`));
    }
  });

  it('clone a VM whose delete begins: a clone of it, or none', async () => {
    for (let n = 0; n < 3; n++) {
      await outcome(op.clone('src'));
      const [captured, deleted] = await all([capture('src', `of-src:${n}`), op.delete('src')]);
      oneWinner([captured!, deleted!], /^(RESOURCE_BUSY|NOT_FOUND|BAD_STATE)$/, /\bsrc\b/);
    }
  });

  it.each([true, false])('make batches with names and addresses that overlap (all or none: %s)', async (atomic) => {
    const tag = atomic ? 'x' : 'y';
    const net = atomic ? '10.1.0' : '10.2.0';
    const told = await all([
      batch([`${tag}1`, `${tag}2`, `${tag}3`], (i) => `${net}.${11 + i}/24`, atomic),
      batch([`${tag}3`, `${tag}4`], (i) => `${net}.${13 + i}/24`, atomic),
      batch([`${tag}5`, `${tag}6`], (i) => `${net}.${13 + i}/24`, atomic),
    ]);
    oneWinner(told, /./, new RegExp(`${tag}[3-6]|${net}`));
    const vms = (await c.json<{ name: string; spec: { nics: { addresses: string[] }[] } }[]>('vm', 'list')).filter(
      (vm) => vm.name.startsWith(tag),
    );
    const addresses = vms.flatMap((vm) => vm.spec.nics.flatMap((n) => n.addresses ?? []));
    expect(new Set(addresses).size).toBe(addresses.length);
    expect(new Set(vms.map((vm) => vm.name)).size).toBe(vms.length);
    expect(vms.length).toBeGreaterThanOrEqual(2);
  });
});

it('after all of it claims, VMs, images and what the hosts have are the same', async () => {
  await c.quiet();
  expect(await differences(c)).toEqual([]);
});
