/** An image on its way to several hosts at once, over links of limited speed; one of them dies on the way. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { bringRandom, holdersOf, untilHeld } from '../harness/random-image.ts';
import { eventually } from '../harness/processes.ts';

const MIB = 2 ** 20;
const IMAGE_BYTES = 64 * MIB;
/** Of what is sent slowly. */
const SMALL_BYTES = 24 * MIB;
const HOSTS = ['h1', 'h2', 'h3', 'h4', 'h5'];

describeLab('an image that is pushed', { hosts: HOSTS }, (lab) => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    for (const name of HOSTS) await c.addLabHost(lab().host(name));
    await c.waitUp(...HOSTS);
  }, 120_000);
  afterAll(() => c?.stop());

  const untilOn = (hosts: readonly string[]) => untilHeld(c, 'other', hosts, 120_000);

  it('leaves its source about once, however many hosts get it', async () => {
    await bringRandom(c, 'base', IMAGE_BYTES, 'h1');
    for (const name of HOSTS)
      await lab()
        .host(name)
        .limitSending(16 * MIB);
    const before = await lab().host('h1').sentBytes();
    const said = await c.ok('image', 'push', 'base', '--all');
    const sent = (await lab().host('h1').sentBytes()) - before;
    expect(said.match(/\[ {2}OK {2}\]/g)).toHaveLength(HOSTS.length);
    expect(said).toMatch(/host h1 has base already/);
    expect(await holdersOf(c, 'base')).toEqual(HOSTS);
    expect(sent / IMAGE_BYTES).toBeGreaterThan(0.9);
    expect(sent / IMAGE_BYTES).toBeLessThan(1.3);
    expect(await c.ok('image', 'push', 'base', 'h2')).toMatch(/has base already/);
  });

  it('gets to all the others when a host dies that was passing it on', async () => {
    await bringRandom(c, 'other', SMALL_BYTES, 'h1');
    for (const name of HOSTS)
      await lab()
        .host(name)
        .limitSending(4 * MIB);
    await c.ok('image', 'push', 'other', 'h2', 'h3', 'h4', 'h5', '--no-wait');
    await c.midTransfer();
    await lab().host('h3').crash();
    await untilOn(['h1', 'h2', 'h4', 'h5']);
    await eventually('the one of h3 alone waits', async () => {
      const open = (await c.json<{ kind: string }[]>('job', 'list', '--open')).map((job) => job.kind);
      return open.join() === 'image.fetch';
    });
    await lab().host('h3').restart();
    await lab().host('h3').startAgent();
    await untilOn(HOSTS);
  });
});
