/**
 * An image on its way to several hosts when the first of them is slow: the others do not wait for it, and it gets all of it
 * too. Bytes and order are compared; how long it may take is said in test/sim/fan-out.test.ts.
 */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { bringRandom, untilHeld } from '../harness/random-image.ts';

const MIB = 2 ** 20;
const LINK = 16 * MIB;
/** A link that is slow. */
const SLOW = MIB / 2;
const HOSTS = ['h1', 'h2', 'h3', 'h4'];
const FIRST = 'h2';
const OTHERS = ['h3', 'h4'];
/** A loaded machine looks at hosts late, and reckons that late who is slow. */
const LONG_MS = 240_000;

interface Shown {
  readonly digest: string;
}
interface Job {
  readonly steps: readonly { readonly progressDoneBytes: number }[];
}

describeLab('an image that is pushed by way of a host', { hosts: HOSTS }, (lab) => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    for (const name of HOSTS) await c.addLabHost(lab().host(name));
    await c.waitUp(...HOSTS);
  }, 120_000);
  afterAll(() => c?.stop());
  beforeEach(async () => {
    for (const host of lab().hosts) await host.limitSending(LINK);
  });

  const untilOn = (image: string, hosts: readonly string[]) => untilHeld(c, image, hosts, LONG_MS);

  /** The one that is named first alone at first, so that the others are behind it. Answers what the source has sent since. */
  const push = async (image: string): Promise<() => Promise<number>> => {
    const source = lab().host('h1');
    const before = await source.sentBytes();
    await c.ok('image', 'push', image, FIRST, '--no-wait');
    await c.midTransfer();
    await c.ok('image', 'push', image, ...OTHERS, '--no-wait');
    return async () => (await source.sentBytes()) - before;
  };
  /** What lies on a host is read there by a tool that knows nothing of digests. */
  const contentOn = async (name: string, image: string): Promise<string> => {
    const { digest } = await c.json<Shown>('image', 'show', image);
    const file = `/var/lib/berth/images/${digest.replace('sha256:', '')}.qcow2`;
    const script = `qemu-img convert -f qcow2 -O raw ${file} /tmp/${image}.raw && sha256sum </tmp/${image}.raw`;
    return (await lab().host(name).run(['sh', '-c', script])).split(' ')[0]!;
  };
  const allHave = async (image: string, content: string): Promise<void> => {
    for (const name of HOSTS.slice(1)) expect([name, await contentOn(name, image)]).toEqual([name, content]);
  };

  it('that gets little: it is gone past, and gets the rest from those that it held back', async () => {
    const bytes = 96 * MIB;
    const content = await bringRandom(c, 'receives', bytes, 'h1');
    for (const host of lab().hosts) await host.limitSendingTo(lab().host(FIRST).address, SLOW, LINK);
    const sent = await push('receives');
    await untilOn('receives', OTHERS);
    // a job of the others may just be ending
    const far = (await c.json<Job[]>('job', 'list', '--open')).map((j) => j.steps[0]!.progressDoneBytes / bytes);
    expect(far.filter((share) => share < 0.75)).toHaveLength(1);
    for (const host of lab().hosts) await host.limitSending(LINK);
    await untilOn('receives', HOSTS);
    await allHave('receives', content);
    expect((await sent()) / bytes).toBeLessThan(1.9); // once, and what the first had when it was gone past
  });

  it('that sends little: the others leave it for the source, though it is done before anybody can see that', async () => {
    const bytes = 64 * MIB;
    const content = await bringRandom(c, 'sends', bytes, 'h1');
    await lab().host(FIRST).limitSending(SLOW);
    const sent = await push('sends');
    await untilOn('sends', HOSTS);
    await allHave('sends', content);
    expect((await sent()) / bytes).toBeLessThan(2.7); // twice: nobody else has it; thrice if neither passed it on
  });
});
