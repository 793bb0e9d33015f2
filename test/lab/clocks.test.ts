/** A host whose clock is wrong, with a guest on it: told in words, never taken for dead, and well again with the clock. */
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

/** Of Debian's libfaketime; the hosts are of the same Debian as the machine that has it. */
const LIBRARY = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';
const ON_HOST = '/var/tmp/libfaketime.so.1';

describeLab('a clock that is wrong', { hosts: ['h1'] }, (lab) => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    const h1 = lab().host('h1');
    await c.addLabHost(h1);
    await c.waitUp('h1');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base');
    await c.ok('vm', 'clone', 'base', 'web', '--memory', '256MiB', '--start');
    if (existsSync(LIBRARY)) await h1.run(['sh', '-c', `cat >${ON_HOST}`], { input: readFileSync(LIBRARY) });
  }, 180_000);
  afterAll(() => c?.stop());

  it.skipIf(!existsSync(LIBRARY)).each([
    ['a year ahead', '+366d', /the clock of h1 is 36[56] d ahead of the controller's/],
    ['a day behind', '-1d', /the clock of h1 is (1 d|23 h) behind the controller's/],
  ])('%s: a certificate fault in words, the guest runs on, and all is well when it is right', async (_, by, words) => {
    const h1 = lab().host('h1');
    await h1.stopAgent();
    await h1.startAgent([], { LD_PRELOAD: ON_HOST, FAKETIME: by, DONT_FAKE_MONOTONIC: '1' });
    await eventually('h1 says so', async () => {
      const { out } = await c.berth('host', 'list', '-o', 'json');
      const [host] = JSON.parse(out) as { state: string; stateReason: string }[];
      if (host?.state === 'certificate-fault' && words.test(host.stateReason)) return true;
      throw new Error(JSON.stringify(host));
    });
    await eventually('the alarm', async () => /host-certificate-fault .*h1/.test(await c.ok('alarm', 'list')));
    await eventually('web is unknown', async () => /web +unknown/.test(await c.ok('vm', 'list')));
    expect(await h1.virsh(['list', '--name'])).toBe('web');
    await h1.stopAgent();
    await h1.startAgent();
    await c.waitUp('h1');
    await eventually('web is seen again', async () => /web +running/.test(await c.ok('vm', 'list')));
    expect((await c.ok('vm', 'log', 'web')).match(/boots \d+/g)?.length ?? 0).toBeLessThanOrEqual(1);
  });
});
