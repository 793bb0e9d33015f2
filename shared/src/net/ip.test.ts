import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contains, formatIp, isLinkLocal, networkOf, parseCidr, parseIp, reservedAs } from './ip.ts';
import { inRange, parseRange, spanOf } from './ip-range.ts';

const shown = (text: string) => formatIp(parseIp(text)!);

describe('an address', () => {
  it.each([
    ['10.0.0.5', '10.0.0.5'],
    ['FE80:0:0:0:0:0:0:1', 'fe80::1'],
    ['2001:db8::', '2001:db8::'],
    ['::', '::'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['::ffff:10.0.0.5', '::ffff:a00:5'],
    ['1:2:3:4:5:6:7:0', '1:2:3:4:5:6:7:0'],
  ])('%s is written as %s', (given, text) => expect(shown(given)).toBe(text));

  it.each(['', '10.0.0', '10.0.0.256', 'fe80::1%eth0', '1::2::3', 'web'])('%j is none', (text) =>
    expect(parseIp(text)).toBeUndefined(),
  );

  it('is the same after it was written and read', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const ip = parseIp(text)!;
        expect(parseIp(formatIp(ip))).toEqual(ip);
      }),
    );
  });

  it.each([
    ['10.0.0.0/24', 'the network itself'],
    ['10.0.0.255/24', 'the broadcast address of its network'],
    ['10.0.0.255/16', undefined],
    ['127.0.0.5/8', 'a loopback address'],
    ['0.0.0.5/24', 'an address of nobody (0.0.0.0/8)'],
    ['224.0.0.5/24', 'a multicast address'],
    ['255.255.255.255/32', 'an address that is in no network (240.0.0.0/4)'],
    ['::1/128', 'a loopback address'],
    ['::/128', 'the address of nobody'],
    ['ff02::5/64', 'a multicast address'],
    ['169.254.1.1/16', undefined],
    ['fe80::5/64', undefined],
    ['10.0.0.0/31', undefined],
    ['10.0.0.0/32', undefined],
    ['2001:db8::/64', 'the anycast address of its routers'],
    ['2001:db8::ffff:ffff:ffff:ffff/64', undefined],
  ])('%s can be that of a guest, unless it is %s', (text, what) => expect(reservedAs(parseCidr(text)!)).toBe(what));

  it('lies in a network, or beside it', () => {
    const network = parseCidr('192.168.174.13/16')!;
    expect(contains(network, parseIp('192.168.0.1')!)).toBe(true);
    expect(contains(network, parseIp('192.169.0.1')!)).toBe(false);
    expect(contains(network, parseIp('fe80::1')!)).toBe(false);
    expect([formatIp(networkOf(network).first), formatIp(networkOf(network).last)]).toEqual([
      '192.168.0.0',
      '192.168.255.255',
    ]);
    expect([isLinkLocal(parseIp('fe80::1')!), isLinkLocal(parseIp('fec0::1')!)]).toEqual([true, false]);
  });

  it.each(['10.0.0.5', '10.0.0.5/33', '10.0.0.5/24/1', '10.0.0.5/', '::1/129'])('%s has no prefix', (text) =>
    expect(parseCidr(text)).toBeUndefined(),
  );
});

describe('a range', () => {
  it.each([
    ['10.0.0.10-10.0.0.40/24', '10.0.0.10', '10.0.0.40', 31n],
    ['10.0.0.10-40/24', '10.0.0.10', '10.0.0.40', 31n],
    ['10.0.0.7/24', '10.0.0.0', '10.0.0.255', 256n],
    ['2001:db8::10-2001:db8::1f/64', '2001:db8::10', '2001:db8::1f', 16n],
  ])('%s goes from %s to %s', (text, first, last, span) => {
    const range = parseRange(text);
    expect([formatIp(range.first), formatIp(range.last), spanOf(range)]).toEqual([first, last, span]);
    expect([inRange(range, range.last), inRange(range, { ...range.last, value: range.last.value + 1n })]).toEqual([
      true,
      false,
    ]);
  });

  it.each([
    ['10.0.0.10', 'is not a range'],
    ['10.0.0.10-10.0.0.40', 'is not a range'],
    ['10.0.0.10-fe80::1/64', 'is not a range'],
    ['10.0.0.10-10.0.1.40/24', 'leaves its network: 10.0.1.40 is not in the /24 of 10.0.0.10'],
    ['10.0.0.40-10.0.0.10/24', 'ends before it begins'],
    ['a-b-c', 'is not a range'],
    ['10.0.0.1-10.0.0.9/0', 'is of no network'],
    ['127.0.0.0/8', 'has no addresses of guests: 127.0.0.0 is a loopback address'],
    ['200.0.0.1-230.0.0.1/1', 'has no addresses of guests: 230.0.0.1 is a multicast address'],
    ['ff00::/8', 'has no addresses of guests: ff00:: is a multicast address'],
  ])('%s %s', (text, why) => expect(() => parseRange(text)).toThrow(why));
});
