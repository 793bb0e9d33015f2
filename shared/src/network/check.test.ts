import { describe, expect, it } from 'vitest';
import type { NetworkShape } from '../model/network.ts';
import { parseCidr, type Cidr } from '../net/ip.ts';
import { checkNetwork, overlap } from './check.ts';

const shape = (over: Partial<NetworkShape>): NetworkShape => ({
  ...{ kind: 'nat', bridge: 'vbr', addresses: ['192.168.100.254/24'], dhcpRange: '', stp: false, delaySeconds: 0 },
  ...over,
});

describe('what a logical network may be', () => {
  it('is a bridge that is there, an isolated one, or one with NAT as by hand', () => {
    const nat = shape({
      addresses: ['192.168.100.254/24', '2001:DB8:ca2:2:0::1/64'],
      dhcpRange: '192.168.100.128 - 192.168.100.200',
      ...{ stp: true, delaySeconds: 0 },
    });
    expect(checkNetwork('network vbr', nat)).toEqual({
      ...nat,
      addresses: ['192.168.100.254/24', '2001:db8:ca2:2::1/64'],
      dhcpRange: '192.168.100.128-192.168.100.200',
    });
    for (const fine of [
      shape({ kind: 'bridge', bridge: 'br0', addresses: [] }),
      shape({ kind: 'isolated', bridge: 'lan', addresses: [] }),
      shape({ kind: 'isolated', bridge: 'lan', addresses: ['10.0.0.1/24', '10.0.1.1/24', 'fd00::1/64'] }),
    ])
      expect(checkNetwork('network lan', fine)).toEqual(fine);
  });

  it.each([
    [{ kind: 'vlan' as 'nat' }, 'no kind of network'],
    [{ bridge: 'a-very-long-name-of-a-bridge' }, 'cannot be the name of a bridge'],
    [{ bridge: '../etc' }, 'cannot be the name of a bridge'],
    [{ bridge: '-x' }, 'cannot be the name of a bridge'],
    [{ kind: 'bridge' as const }, 'gets no addresses from Berth'],
    [{ kind: 'isolated' as const, dhcpRange: '192.168.100.1-192.168.100.2' }, 'gets no DHCP'],
    [{ kind: 'isolated' as const, stp: true }, 'gets no spanning tree'],
    [{ addresses: [] }, 'needs one address of IPv4'],
    [{ addresses: ['192.168.100.1/24', '10.0.0.1/24'] }, 'needs one address of IPv4'],
    [{ addresses: ['2001:db8::1/64'] }, 'needs one address of IPv4'],
    [{ addresses: ['192.168.100.254'] }, 'no address with a prefix'],
    [{ addresses: ['192.168.100.0/24'] }, 'the network itself'],
    [{ addresses: ['192.168.100.255/24'] }, 'the broadcast address'],
    [{ addresses: ['127.0.0.2/24'] }, 'no address that a network can have'],
    [{ addresses: ['224.0.0.1/24'] }, 'no address that a network can have'],
    [{ addresses: ['240.0.0.1/24'] }, 'no address that a network can have'],
    [{ addresses: ['192.168.100.1/24', 'ff02::1/64'] }, 'no address that a network can have'],
    [{ addresses: ['10.0.0.1/4'] }, 'too large a network'],
    [{ kind: 'isolated' as const, addresses: ['10.0.0.1/24', '10.0.0.2/16'] }, 'overlaps with another'],
    [{ delaySeconds: -1 }, 'a delay of -1 seconds'],
    [{ dhcpRange: '192.168.100.10' }, 'no range of addresses'],
    [{ dhcpRange: '192.168.100.20-192.168.100.10' }, 'ends before it begins'],
    [{ dhcpRange: '192.168.101.10-192.168.101.20' }, 'leaves the network'],
    [{ dhcpRange: '192.168.100.10-192.168.100.254' }, "the network's own address"],
    [{ dhcpRange: '192.168.100.0-192.168.100.20' }, 'the network itself in it'],
  ] as [Partial<NetworkShape>, string][])('%j is refused: %s', (over, why) => {
    expect(() => checkNetwork('network x', shape(over))).toThrow(
      expect.objectContaining({ reason: 'INVALID_ARGUMENT', message: expect.stringContaining(why) }),
    );
  });

  it('sees overlaps from either side', () => {
    const [a, b, c] = ['10.0.0.1/24', '10.0.0.200/25', '10.0.1.1/24'].map((t) => parseCidr(t) as Cidr) as [
      Cidr,
      Cidr,
      Cidr,
    ];
    expect([overlap(a, b), overlap(b, a), overlap(a, c), overlap(a, parseCidr('fd00::1/64') as Cidr)]).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});
