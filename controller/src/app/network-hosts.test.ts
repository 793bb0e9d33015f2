import { describe, expect, it } from 'vitest';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { NetworkSeen } from '@berth/shared/model/network.ts';
import { facts } from '../../../test/harness/world-builder.ts';
import { aNetwork } from '../state/samples.ts';
import { networkThere } from './network-hosts.ts';

const host = { id: 'host-1' as HostId, labels: { zone: 'a' } };
const bridge = (name: string, up = true) => ({ name, up, ports: [], addresses: [], owned: true });
const made = aNetwork();
const seen = (over: Partial<NetworkSeen> = {}): NetworkSeen => ({
  ...{ networkId: made.id, name: 'lan', uuid: 'u', kind: 'isolated', bridge: 'lan', addresses: [] },
  ...{ state: 'active', reason: '', generation: 1 },
  ...over,
});
const able = facts();

describe('whether a network is on a host', () => {
  it.each([
    ['there', [seen()], [bridge('lan')], able, 'active', ''],
    ['not made', [], [bridge('lan')], able, 'absent', 'it has not been made there yet'],
    ['another of the same name', [seen({ networkId: '' })], [bridge('lan')], able, 'absent', 'it has not been made'],
    ['not up', [seen({ state: 'failed', reason: 'no dnsmasq' })], [], able, 'failed', 'no dnsmasq'],
    ['without its bridge', [seen()], [], able, 'absent', 'has no bridge lan'],
    ['with its bridge down', [seen()], [bridge('lan', false)], able, 'inactive', 'its bridge lan is down'],
    [
      'of an old agent',
      [],
      [bridge('lan')],
      facts({ capabilities: [] }),
      'absent',
      'cannot make networks (it lacks networks)',
    ],
  ] as const)('%s: %j', (_, networks, bridges, told, state, reason) => {
    const found = networkThere(made, host, { networks, bridges, facts: told });
    expect(found.state).toBe(state);
    expect(found.reason).toContain(reason);
  });

  it('is for hosts with its labels, by its labels', () => {
    const of = (selector: string) =>
      aNetwork({ hosts: { all: false, ids: [], selector }, shape: { ...made.shape, kind: 'bridge', bridge: 'br0' } });
    const told = { networks: [], bridges: [bridge('br0')], facts: facts({ capabilities: [] }) };
    expect(networkThere(of('zone=a'), host, told)).toEqual({ state: 'active', reason: '' });
    expect(networkThere(of('zone=b'), host, told).reason).toBe('it is not one of its hosts');
  });
});
