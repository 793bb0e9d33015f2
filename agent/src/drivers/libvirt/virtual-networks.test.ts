/** The driver of networks over a fake libvirtd: what is fine twice, what is refused, and a call that is never answered. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { VirtualNetworks } from '../virtual-networks.ts';
import { FakeLibvirtd, Refusal, SILENCE } from './fake-libvirtd.ts';
import { NETWORK } from './procedures-network.ts';
import { createLibvirtNetworks } from './virtual-networks.ts';

const UUID = '11111111-1111-1111-1111-111111111111';
const xml = `<network><name>vbr</name><forward mode='nat'/><bridge name='vbr'/><ip address='10.1.0.1' prefix='24'/></network>`;

let fake: FakeLibvirtd;
let networks: VirtualNetworks;
let active: boolean;
/** Of calls that are to be given up. */
let deadlineMs: number | undefined;
beforeEach(async () => {
  active = false;
  deadlineMs = undefined;
  fake = await new FakeLibvirtd().listen();
  fake.on(NETWORK.list, () => ({ networks: [{ name: 'vbr', uuid: UUID }], count: 1 }));
  fake.on(NETWORK.xml, () => ({ xml }));
  fake.on(NETWORK.setAutostart, () => ({}));
  fake.on(NETWORK.isActive, () => ({ active: active ? 1 : 0 }));
  const socketPath = (): string => fake.socketPath;
  networks = createLibvirtNetworks({
    ...{ socketPath, uri: () => 'network:///system', clock: systemClock },
    get deadlineMs() {
      return deadlineMs;
    },
  });
});
afterEach(() => fake.dispose());

it('has one come up by itself that an agent had only defined when it was killed', async () => {
  const said: unknown[] = [];
  fake.on(NETWORK.setAutostart, (args) => said.push(args) && {});
  fake.on(NETWORK.create, () => ({}));
  await networks.start(UUID);
  expect(said).toMatchObject([{ autostart: 1 }]);
});

it('reads networks as they will be at their next start', async () => {
  expect(await networks.list()).toEqual([
    {
      ...{ uuid: UUID, name: 'vbr', active: false, kind: 'nat', bridge: 'vbr', addresses: ['10.1.0.1/24'] },
      mark: undefined,
    },
  ]);
});

it('takes what is so already for done, and tells what could not be done as a state of the host', async () => {
  active = true;
  fake.on(NETWORK.create, () => {
    throw new Refusal(55, 'network is already active');
  });
  await networks.start(UUID);
  active = false;
  await expect(networks.start(UUID)).rejects.toMatchObject({ reason: 'BAD_STATE' });
  fake.on(NETWORK.destroy, () => {
    throw new Refusal(55, 'network is not active');
  });
  await networks.stop(UUID);
  fake.on(NETWORK.undefine, () => {
    throw new Refusal(43, 'network not found');
  });
  await networks.undefine(UUID);
  fake.on(NETWORK.create, () => {
    throw new Refusal(1, 'dnsmasq could not be started');
  });
  await expect(networks.start(UUID)).rejects.toMatchObject({
    reason: 'BAD_STATE',
    message: expect.stringContaining('dnsmasq could not be started'),
  });
});

it('waits for a call that is not answered no longer than its deadline, and asks the next over a new connection', async () => {
  fake.on(NETWORK.create, () => SILENCE);
  deadlineMs = 200;
  await expect(networks.start(UUID)).rejects.toMatchObject({ reason: 'HYPERVISOR_UNAVAILABLE' });
  deadlineMs = undefined;
  expect(await networks.list()).toHaveLength(1);
});
