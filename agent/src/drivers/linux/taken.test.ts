import { expect, it } from 'vitest';
import { takenByAddresses, takenByRoutes } from './taken.ts';

it('tells networks that are reached, and not the ways that the kernel makes up itself', () => {
  const routes = [
    { dst: 'default', gateway: '10.0.0.1', dev: 'eth0' },
    { dst: '10.0.0.0/24', dev: 'eth0' },
    { dst: '172.16.0.0/12', gateway: '10.0.0.9', dev: 'eth0' },
    { dst: '192.0.2.7', dev: 'wg0' },
    { type: 'blackhole', dst: '198.51.100.0/24' },
    { type: 'local', dst: '10.0.0.5', dev: 'eth0', table: 'local' },
    { type: 'broadcast', dst: '10.0.0.255', dev: 'eth0', table: 'local' },
    { dst: '127.0.0.0/8', dev: 'lo' },
    { dst: 'fe80::/64', dev: 'eth0' },
    { dst: 'ff00::/8', dev: 'eth0', type: 'multicast' },
    { dst: 'fd00:9::/64', dev: 'br0' },
  ];
  expect(takenByRoutes(JSON.stringify(routes)).map((t) => t.what)).toEqual([
    'a route to 10.0.0.0/24 by eth0',
    'a route to 172.16.0.0/12 by eth0',
    'a route to 192.0.2.7/32 by wg0',
    'a route to 198.51.100.0/24',
    'a route to fd00:9::/64 by br0',
  ]);
  expect(takenByRoutes('')).toEqual([]);
  expect(() => takenByRoutes('no json')).toThrow();
});

it('tells addresses of all interfaces', () => {
  const link = { name: 'eth0', bridge: false, up: true, owned: false, master: undefined, addresses: ['10.0.0.5/24'] };
  expect(takenByAddresses([link])).toEqual([
    { network: '10.0.0.5/24', device: 'eth0', what: 'address 10.0.0.5/24 of eth0' },
  ]);
});
