import { beforeEach, expect, it } from 'vitest';
import { AppCluster } from '../../../test/harness/app-cluster.ts';
import { checkAddresses } from './vm-addresses.ts';

let c: AppCluster;
beforeEach(async () => {
  c = await AppCluster.make();
  expect(await c.import('base')).toBe('succeeded');
});
const refusal = async (answer: Promise<unknown>): Promise<string> =>
  String(((await c.timed(answer).catch((e: unknown) => e)) as Error).message);

it('refuses an address that another VM has on a bridge of that name, however it is spelt, unless that is meant', async () => {
  await c.done(c.clone('web', { address: '2001:db8::5/64' }));
  const again = { address: '2001:DB8:0::5/48' };
  expect(await refusal(c.clone('db', again))).toMatch(
    /^address 2001:DB8:0::5 is taken by vm web on br0\. .*--allow-taken-ip$/,
  );
  expect(c.life.state.tables.vms.byName('db')).toBeUndefined();
  expect(await c.done(c.clone('db', { ...again, allowTakenAddress: true }))).toBe('succeeded');
});

it('refuses a screen on a port of the host that is taken, and takes another host where it may', async () => {
  const definition = { graphics: [{ type: 'vnc' as const, listen: '127.0.0.1', port: 5902 }] };
  await c.done(c.clone('web', { definition, host: 'h1' }));
  expect(await refusal(c.clone('db', { definition, host: 'h1' }))).toBe(
    'vm db cannot run on h1: port 5902 is taken by vm web',
  );
  expect((await c.timed(c.clone('db', { definition }))).view.hostName).not.toBe('h1');
});

it.each([
  [
    { address: '10.0.0.5/24', gateway: '10.0.1.1' },
    'the gateway 10.0.1.1 is not in the network of 10.0.0.5/24, which is 10.0.0.0/24',
  ],
  [{ address: '10.0.0.5/24', gateway: '10.0.0.5' }, "10.0.0.5 cannot be the guest's own address and its gateway too"],
  [{ address: '127.0.0.1/8' }, '127.0.0.1/8 cannot be the address of a guest: it is a loopback address'],
  [{ address: '10.0.0.5/0' }, '10.0.0.5/0 is of no network: say how long its prefix is, as in 10.0.0.11/24'],
  [{ address: '10.0.0.0/24' }, '10.0.0.0/24 cannot be the address of a guest: it is the network itself'],
  [{ address: '10.0.0.5' }, '"10.0.0.5" is not an address with a prefix: write it like 10.0.0.11/24'],
  [{ gateway: 'gw' }, 'the gateway must be an IP address, not "gw"'],
])('%j: %s', (card, why) => expect(() => checkAddresses(card)).toThrow(why));

it.each([
  { address: '10.0.0.5/32', gateway: '10.1.0.1' },
  { address: '2001:db8::5/64', gateway: 'fe80::1' },
  { address: '10.0.0.5/24', gateway: '2001:db8::1' },
  { address: '192.168.174.13/16', gateway: '192.168.0.1' },
])('%j is fine', (card) => expect(checkAddresses(card)).toMatchObject(card));
