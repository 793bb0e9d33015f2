/**
 * The real agent is killed and started again at random moments, dozens of times, while images are imported, sent, cloned and
 * everything is deleted again. Calls may fail meanwhile; afterwards no job is open and no host keeps what nobody knows.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { LabHost } from '@berth/deploy/lab/host.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { Cluster } from '../harness/cluster.ts';
import { noisyDisk } from '../harness/disk-files.ts';
import { seeded } from '../harness/fake-hosts.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

const SEED = 20_240_611;
const ROUNDS = 3;
const KILLS_PER_PHASE = 2;
/** Before each kill: from the middle of a recovery to the middle of a conversion or transfer. */
const MAX_LIFE_MS = 1_500;
const IMAGE_BYTES = 96 * 2 ** 20;
const LEDGER_BYTES = 256 * 2 ** 10;

describeLab('agents that are killed again and again', { hosts: ['h1', 'h2'] }, (lab) => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    await Promise.all(lab().hosts.map((h) => c.addLabHost(h)));
    await c.waitUp('h1', 'h2');
  }, 180_000);
  afterAll(() => c?.stop());

  const next = seeded(SEED);
  let kills = 0;

  async function killSomeTimes(host: LabHost): Promise<void> {
    for (let i = 0; i < KILLS_PER_PHASE; i++) {
      await systemClock.sleep(next() * MAX_LIFE_MS);
      await host.stopAgent('SIGKILL');
      kills++;
      await host.startAgent();
    }
  }

  /** Asks until it is taken: what is refused because its host is away, or broken off, is part of the test. */
  const insist = (...args: string[]): Promise<unknown> =>
    eventually(args.join(' '), async () => (await c.berth(...args)).code === 0, 120_000);

  /** Begins with every host up, and ends when nothing runs any more. */
  async function amidKills(work: () => Promise<unknown>): Promise<void> {
    await c.waitUp('h1', 'h2');
    await Promise.all([work(), ...lab().hosts.map(killSomeTimes)]);
    await c.waitUp('h1', 'h2');
    await c.quiet(120_000);
  }

  /** Each round an image of its own, so that it is converted and sent anew. */
  async function round(number: number): Promise<void> {
    const image = `image-${number}`;
    const file = join(c.dir, `${image}.img`);
    writeFileSync(file, noisyDisk(IMAGE_BYTES));
    await amidKills(() => insist('image', 'import', file, '--name', image, '--host', 'h1'));
    const clones = ['h1', 'h2', 'h2'].map((host, i) => ['vm', 'clone', image, `vm-${number}-${i}`, '--host', host]);
    await amidKills(() => Promise.all(clones.map((args) => insist(...args, '--memory', '64MiB', '--no-wait'))));
    const [first = '', second = ''] = (await names('vm')).sort().reverse();
    await amidKills(() => Promise.all([first, second].map((vm) => insist('vm', 'delete', vm, '--force', '--no-wait'))));
  }

  const names = async (noun: 'vm' | 'image'): Promise<string[]> =>
    (await c.ok(noun, 'list', '-o', 'name')).split('\n').filter((n) => n !== '');

  /** A host that has just come back may still be settling. */
  async function deleteAll(noun: 'vm' | 'image'): Promise<void> {
    await eventually(
      `every ${noun} is deleted`,
      async () => {
        const left = await names(noun);
        if (left.length > 0) await c.ok(noun, 'delete', ...left, ...(noun === 'vm' ? ['--force'] : []));
        return true;
      },
      120_000,
    );
  }

  it('leave no job open, and every VM and image is either whole or gone', async () => {
    for (let number = 0; number < ROUNDS; number++) await round(number);
    expect(kills).toBe(ROUNDS * 3 * KILLS_PER_PHASE * lab().hosts.length);
    const vms = await c.json<{ name: string; state: string; host: string }[]>('vm', 'list');
    for (const host of lab().hosts) {
      const defined = (await host.virsh(['list', '--all', '--name'])).split('\n').filter((n) => n !== '');
      expect(defined.sort()).toEqual(
        vms
          .filter((v) => v.host === host.name)
          .map((v) => v.name)
          .sort(),
      );
    }
  }, 600_000);

  it('keep nothing on their hosts once all is deleted', async () => {
    await deleteAll('vm');
    await deleteAll('image');
    await c.quiet(120_000);
    for (const host of lab().hosts) {
      expect(await host.virsh(['list', '--all', '--name'])).toBe('');
      await eventually(`${host.name} has nothing left`, async () => {
        const folders = 'volumes staging images cache uploads serial tunnels run';
        const left = await host.run([
          'sh',
          '-c',
          `cd /var/lib/berth && find ${folders} -mindepth 1 2>/dev/null || true`,
        ]);
        if (left !== '') throw new Error(left);
        return true;
      });
      const helpers = () => host.pids('^qemu-(nbd|storage-daemon|img) ');
      await eventually(`no helper runs on ${host.name}`, async () => (await helpers()).length === 0);
      const ledger = await host.readFile('/var/lib/berth/operations/ledger.jsonl');
      expect(Buffer.byteLength(ledger)).toBeLessThan(LEDGER_BYTES);
    }
  }, 300_000);
});
