/** What a document of a network would change, and what it may not. */
import { expect, it } from 'vitest';
import { Network } from '@berth/proto/v1/network.ts';
import { readForm } from '@berth/shared/hardware/form.ts';
import type { Api } from '../core/api.ts';
import { networkKind } from './network-kind.ts';

const there = Network.fromPartial({
  ...{ name: 'six', state: 'ready', kind: 'nat', bridge: 'six', dhcpRange: '10.6.0.10-10.6.0.20' },
  addresses: ['10.6.0.1/24', '2001:db8:0:6::1/64'],
});
const api = { networks: { getNetwork: 'get' }, call: async () => there } as unknown as Api;
const plan = (spec: object) =>
  networkKind.plan(api, readForm(networkKind.schema, { kind: 'network', name: 'six', spec }).value as never);

it('takes another spelling of an address, or of a range, for the same', async () => {
  const addresses = ['10.6.0.1/24', '2001:DB8:0:6:0::1/64'];
  expect((await plan({ kind: 'nat', addresses, dhcpRange: '10.6.0.10 - 10.6.0.20' })).what).toBe('nothing');
  await expect(plan({ addresses: ['10.7.0.1/24'] })).rejects.toThrow('addresses is 10.6.0.1/24, 2001:db8:0:6::1/64');
});
