/** Two people at once: whoever is second gets one clear answer, and nothing is left over. Real controller, simulated hosts. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { seeded } from '../harness/fake-hosts.ts';
import { differences } from '../harness/inventory-check.ts';
import { Operator } from '../harness/operator.ts';

const HOSTS = ['h1', 'h2', 'h3'];
let c: Cluster;
let op: Operator;

beforeAll(async () => {
  c = await Cluster.start();
  for (const h of HOSTS) await c.addSimulated(h);
  await c.waitUp(...HOSTS);
  op = await Operator.of(c);
  const { jobId } = await op.import('base', rawDisk(2 ** 20));
  expect(await op.ended(jobId)).toBe('succeeded');
});
afterAll(async () => {
  op?.close();
  await c?.stop();
});

const all = (answers: readonly Promise<{ jobId: string }>[]) => Promise.all(answers.map((a) => op.outcome(a)));
const tally = (outcomes: readonly string[]): Record<string, number> =>
  outcomes.reduce<Record<string, number>>((n, o) => ({ ...n, [o]: (n[o] ?? 0) + 1 }), {});
const made = async (...names: string[]) =>
  expect(new Set(await all(names.map((n) => op.clone(n))))).toEqual(new Set(['succeeded']));
const gone = async (...names: string[]) => expect(await all(names.map((n) => op.delete(n)))).not.toContain('failed');

describe('two people at once', () => {
  it('clone the same name: one wins', async () => {
    const outcomes = await all(Array.from({ length: 20 }, () => op.clone('same')));
    expect(tally(outcomes)).toEqual({ succeeded: 1, ALREADY_EXISTS: 19 });
    await gone('same');
  });

  it('delete what is being cloned: refused, and told which job', async () => {
    const { jobId } = await op.clone('early');
    const e: unknown = await op.delete('early').catch((x: unknown) => x);
    if (isClusterError(e)) expect([e.reason, e.message.includes(jobId)]).toEqual(['RESOURCE_BUSY', true]);
    else expect(await op.ended((e as { jobId: string }).jobId)).toBe('succeeded'); // the clone had ended
    expect(await op.ended(jobId)).toBe('succeeded');
    await op.outcome(op.delete('early'));
  });

  it('start the same VM: it runs, by one job', async () => {
    await made('twice');
    const jobs = await Promise.all([op.start('twice'), op.start('twice'), op.start('twice')]);
    expect(new Set(jobs.map((j) => j.jobId).filter((id) => id !== '')).size).toBe(1);
    expect(await op.ended(jobs[0].jobId)).toBe('succeeded');
  });

  it('stop and delete the same VM: it is gone, or off', async () => {
    const outcomes = await all([op.stop('twice'), op.delete('twice'), op.stop('twice'), op.delete('twice')]);
    for (const o of outcomes) expect(['succeeded', 'nothing to do', 'RESOURCE_BUSY', 'NOT_FOUND']).toContain(o);
    await op.outcome(op.delete('twice'));
  });

  it('delete an image that the other clones from: the clone keeps it', async () => {
    const [cloned, deleted] = await all([op.clone('keeps'), op.deleteImage('base')]);
    expect([cloned, deleted]).toEqual(['succeeded', expect.stringMatching(/^(IN_USE|RESOURCE_BUSY)$/)]);
    await gone('keeps');
  });

  it('import the same name: one wins', async () => {
    const file = rawDisk(2 ** 20);
    const tries = await Promise.allSettled(Array.from({ length: 5 }, () => op.import('again', file)));
    const won = tries.filter((t) => t.status === 'fulfilled');
    const reasons = tries.filter((t) => t.status === 'rejected').map((t) => (t.reason as { reason: string }).reason);
    expect([won.length, new Set(reasons)]).toEqual([1, new Set(['ALREADY_EXISTS'])]);
    expect(await op.ended(won[0]?.value.jobId ?? '')).toBe('succeeded');
    expect(await op.outcome(op.deleteImage('again'))).toBe('succeeded');
  });

  it('drain a host that the other places onto: it ends one way or the other, and nothing comes after', async () => {
    const placing = Array.from({ length: 12 }, (_, i) => op.outcome(op.clone(`drained-${i}`, { host: 'h2' })));
    await op.api.call(op.api.hosts, (x) => x.drainHost, { host: 'h2' });
    for (const o of await Promise.all(placing)) expect(['succeeded', 'NO_CAPACITY']).toContain(o);
    expect(await op.outcome(op.clone('later', { host: 'h2' }))).toBe('NO_CAPACITY');
    await op.api.call(op.api.hosts, (x) => x.resumeHost, { host: 'h2' });
    await all(Array.from({ length: 12 }, (_, i) => op.delete(`drained-${i}`)));
  });

  it('remove a host that the other clones onto: refused while a job or a VM is on it', async () => {
    const { jobId } = await op.clone('there', { host: 'h3' });
    const remove = () =>
      op.api
        .call(op.api.hosts, (x) => x.deleteHost, { host: 'h3', force: false })
        .then(
          () => 'removed',
          (e: unknown) => (isClusterError(e) ? e.reason : 'failed'),
        );
    for (const o of await Promise.all([remove(), remove()])) expect(['RESOURCE_BUSY', 'IN_USE']).toContain(o);
    expect(await op.ended(jobId)).toBe('succeeded');
    await gone('there');
  });
});

it('jobs that are cancelled at any moment leave nothing', async () => {
  const random = seeded(7);
  const outcomes: Promise<string>[] = [];
  for (let i = 0; i < 50; i++) {
    const name = `c${i % 20}`;
    const acts = [() => op.clone(name), () => op.start(name), () => op.stop(name), () => op.delete(name)];
    outcomes.push(op.outcome((acts[Math.floor(random() * 6)] ?? acts[0]!)()));
    const open = await op.openJobs();
    const victim = open[Math.floor(random() * open.length)];
    if (victim) await op.cancel(victim.id).catch(() => undefined);
  }
  const told = tally(await Promise.all(outcomes));
  expect(Object.keys(told).filter((o) => /INTERNAL|STUCK|UNSUPPORTED/.test(o))).toEqual([]);
  await c.quiet();
});

it('after all of it claims, VMs, images and what the hosts have are the same', async () => {
  expect(await differences(c)).toEqual([]);
});
