/** Definitions of networks for libvirt: a golden file, and what is read of others'. */
import { expect, it } from 'vitest';
import { expectGolden } from '@berth/test/harness/golden.ts';
import type { NetworkShape } from '@berth/shared/model/network.ts';
import { checkNetworkSpec, type NetworkSpec } from './network-spec.ts';
import { networkHash, networkUuid, networkXml, readNetworkXml } from './network-xml.ts';

const spec = (over: Partial<NetworkShape> = {}, more: Partial<NetworkSpec> = {}): NetworkSpec =>
  checkNetworkSpec({
    ...{ networkId: 'network-01', name: 'vbr', generation: 3 },
    shape: {
      ...{ kind: 'nat', bridge: 'vbr0', addresses: ['192.168.100.254/24', '2001:db8:ca2:2::1/64'] },
      ...{ dhcpRange: '192.168.100.128-192.168.100.200', stp: true, delaySeconds: 0 },
      ...over,
    },
    ...more,
  });

it('is as people write it by hand', () => {
  const plain = spec({ addresses: ['10.5.0.1/16'], dhcpRange: '', stp: false, delaySeconds: 2 });
  expectGolden(import.meta.url, 'networks.golden.xml', [spec(), plain].map((s) => `${networkXml(s)}\n`).join('\n'));
});

it('knows its own again, and changes its hash only with what libvirt is told', () => {
  const s = spec();
  expect(readNetworkXml(networkXml(s))).toEqual({
    ...{ kind: 'nat', bridge: 'vbr0', addresses: ['192.168.100.254/24', '2001:db8:ca2:2::1/64'] },
    mark: { networkId: 'network-01', hash: networkHash(s), generation: 3 },
  });
  expect(networkHash(spec({}, { generation: 4 }))).toBe(networkHash(s));
  expect(networkHash(spec({ stp: false }))).not.toBe(networkHash(s));
  expect(networkUuid('network-01')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

it('reads what others made, and nothing of what is no definition', () => {
  const theirs = `<network connections='1'><name>default</name><uuid>u</uuid><forward mode='nat'><nat><port start='1024' end='65535'/></nat></forward>
  <bridge name='virbr0' stp='on' delay='0'/><ip address='192.168.122.1' netmask='255.255.255.0'><dhcp/></ip></network>`;
  const nothing = { mark: undefined, addresses: [] };
  expect(readNetworkXml(theirs)).toEqual({
    ...nothing,
    kind: 'nat',
    bridge: 'virbr0',
    addresses: ['192.168.122.1/24'],
  });
  expect(readNetworkXml(`<network><forward mode='bridge'/><bridge name='br0'/></network>`)).toEqual({
    ...{ ...nothing, kind: 'bridge', bridge: 'br0' },
  });
  expect(readNetworkXml('<network><ip address="10.0.0.1" netmask="255.0.255.0"/></network>')).toMatchObject(nothing);
  expect(readNetworkXml('no xml at all')).toEqual({ ...nothing, kind: 'isolated', bridge: '' });
  const forged = `<network><metadata><berth:network xmlns:berth='x'><berth:id>../etc</berth:id></berth:network></metadata></network>`;
  expect(readNetworkXml(forged).mark).toBeUndefined();
});
