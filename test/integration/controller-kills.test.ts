/** kill -9 of the controller in the middle of everything, again and again: afterwards all is as if it had never happened. */
import { appendFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { seeded } from '../harness/fake-hosts.ts';
import { differences, keptOperations } from '../harness/inventory-check.ts';
import { Operator } from '../harness/operator.ts';
import { Daemon, eventually, PROGRAMS } from '../harness/processes.ts';

const HOSTS = ['h1', 'h2', 'h3'];
const KILLS = 15;
let c: Cluster;
let op: Operator;

beforeAll(async () => {
  c = await Cluster.start();
  for (const h of HOSTS) await c.addSimulated(h);
  await c.waitUp(...HOSTS);
  op = await Operator.of(c);
  expect(await op.ended((await op.import('base', rawDisk(2 ** 20))).jobId)).toBe('succeeded');
});
afterAll(async () => {
  op?.close();
  await c?.stop();
});

describe('an import whose sender is gone ends within seconds, and leaves nothing', () => {
  const sending = () =>
    eventually('bytes come', async () =>
      (await op.openJobs()).find((j) => j.steps.some((s) => s.progressDoneBytes > 0n)),
    );
  const images = async () => (await c.json<{ name: string }[]>('image', 'list')).map((i) => i.name);

  it('when the command was killed', async () => {
    const file = join(c.dir, 'large.img');
    writeFileSync(file, rawDisk(2 ** 20));
    truncateSync(file, 200 * 2 ** 20);
    const importing = new Daemon(PROGRAMS.berth, ['image', 'import', file], { BERTH_CONFIG: c.configFile });
    importing.start();
    const { id } = await sending();
    await importing.end('SIGKILL');
    const killedAt = systemClock.monotonic();
    expect(await op.ended(id)).toBe('CANCELLED');
    expect(systemClock.monotonic() - killedAt).toBeLessThan(20_000);
    const { error } = await op.api.call(op.api.jobs, (x) => x.getJob, { job: id });
    expect(error).toMatch(/^the upload of image large broke off/);
    expect(await images()).toEqual(['base']);
  });

  it('when the controller was killed', async () => {
    const { jobId } = await op.import('cut', rawDisk(8 * 2 ** 20), 2 ** 20);
    await sending();
    await c.controller.restart('SIGKILL');
    await c.waitUp(...HOSTS);
    expect(await op.ended(jobId)).toBe('CANCELLED');
    expect(await images()).toEqual(['base']);
  });
});

/** What a life of the controller is asked for; answers are lost with it. */
function ask(random: () => number): void {
  const name = `vm${Math.floor(random() * 12)}`;
  const acts = [
    () => op.clone(name),
    () => op.clone(name),
    () => op.create(name),
    () => op.start(name),
    () => op.start(name),
    () => op.stop(name),
    () => op.delete(name),
    () => op.import(`image${Math.floor(random() * 2)}`, rawDisk(2 ** 20)),
    () => op.deleteImage('image0'),
  ];
  acts[Math.floor(random() * acts.length)]?.().catch(() => undefined);
}

it('it is killed at any moment under load, and nothing is lost, left or stuck', async () => {
  const random = seeded(11);
  for (let kill = 0; kill < KILLS; kill++) {
    await eventually('the controller answers', () => op.openJobs().then(() => true));
    for (let i = 0; i < 10; i++) ask(random);
    await systemClock.sleep(random() * 400);
    await c.controller.restart('SIGKILL');
  }
  await c.waitUp(...HOSTS);
  await c.quiet();
});

it('claims, VMs, images and what the hosts have are the same', async () => {
  expect(await differences(c)).toEqual([]);
});

it('agents forget what jobs of an earlier life asked of them, and their journals shrink', async () => {
  const file = join(c.dir, 'h1', 'operations', 'ledger.jsonl');
  await c.agents.get('h1')!.end('SIGKILL'); // and with it all that a simulated host has
  c.controller.start();
  const op = { kind: 'startDomain', hash: 'x'.repeat(300), state: 'succeeded', again: false, atMs: systemClock.now() };
  // the agent writes its journal anew when it is longer than 256 KiB: the acknowledgement makes it so
  for (let i = 0; statSync(file).size < 257_000; i++)
    appendFileSync(file, `${JSON.stringify({ t: 'op', op: { ...op, id: `job-lost${i}.boot` } })}\n`);
  const { size } = statSync(file);
  c.agents.get('h1')!.start();
  await eventually('the ledgers are empty', async () => HOSTS.every((h) => keptOperations(c, h).length === 0));
  await eventually('the journal is short', async () => statSync(file).size < size / 2);
});
