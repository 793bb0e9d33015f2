import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectGolden } from '@berth/test/harness/golden.ts';
import { canonicalCidr, parseLinks, planEnsure, planRemove, type IpCommand, type LinkSeen } from './bridge-plan.ts';

const link = (over: Partial<LinkSeen> & { name: string }): LinkSeen => ({
  bridge: true,
  up: true,
  owned: true,
  master: undefined,
  addresses: [],
  ...over,
});

/** What the kernel would make of the commands. Throws where `ip` would fail. */
function apply(seen: readonly LinkSeen[], commands: readonly IpCommand[]): LinkSeen[] {
  let links = [...seen];
  const change = (name: string | undefined, f: (l: LinkSeen) => LinkSeen): void => {
    if (!links.some((l) => l.name === name)) throw new Error(`Cannot find device ${name}`);
    links = links.map((l) => (l.name === name ? f(l) : l));
  };
  for (const c of commands) {
    const line = c.join(' ');
    const [, , , a, b, d] = c;
    if (line.startsWith('link add')) links.push(link({ name: a as string, up: false, owned: false }));
    else if (b === 'alias') change(a, (l) => ({ ...l, owned: d === 'berth' }));
    else if (b === 'name') change(a, (l) => ({ ...l, name: d as string }));
    else if (b === 'up') change(a, (l) => ({ ...l, up: true }));
    else if (line.startsWith('address add')) change(b, (l) => ({ ...l, addresses: [...l.addresses, c[2] as string] }));
    else if (line.startsWith('address del'))
      change(b, (l) => ({ ...l, addresses: l.addresses.filter((x) => x !== c[2]) }));
    else if (line.startsWith('link delete')) links = links.filter((l) => l.name !== a);
    else throw new Error(`unknown command ${line}`);
  }
  return links;
}

const text = (commands: readonly IpCommand[]): string =>
  commands.map((c) => `ip ${c.join(' ')}\n`).join('') || 'nothing\n';

describe('a plan for a bridge', () => {
  it('is what the golden file says', () => {
    const wanted = ['10.9.0.1/24', 'FD00:9:0::1/64'];
    const there = link({ name: 'br0', up: false, addresses: ['10.9.0.1/24', '192.0.2.7/32'] });
    const plans = {
      'made anew': planEnsure([], 'br0', wanted),
      'brought to what is wanted': planEnsure([there], 'br0', wanted),
      'as wanted already': planEnsure([link({ name: 'br0', addresses: ['10.9.0.1/24'] })], 'br0', ['10.9.0.1/24']),
      removed: planRemove([there], 'br0'),
      'removed, not there': planRemove([], 'br0'),
    };
    const all = Object.entries(plans).map(([what, commands]) => `# ${what}\n${text(commands)}`);
    expectGolden(import.meta.url, 'bridge-plan.txt', all.join('\n'));
  });

  it('leads to what is wanted from anywhere, also when it was broken off, and then to nothing more', () => {
    const cidr = fc.constantFrom('10.0.0.1/24', '10.0.0.2/24', 'fd00::1/64', '192.0.2.1/32');
    const start = fc.record({ up: fc.boolean(), addresses: fc.uniqueArray(cidr), there: fc.boolean() });
    fc.assert(
      fc.property(start, fc.uniqueArray(cidr), fc.nat(9), (s, wanted, cut) => {
        const others = [link({ name: 'docker0', owned: false }), link({ name: 'eth0', bridge: false, owned: false })];
        const before = s.there ? [...others, link({ name: 'br0', up: s.up, addresses: s.addresses })] : others;
        const half = apply(before, planEnsure(before, 'br0', wanted).slice(0, cut));
        expect(apply(half, planRemove(half, 'br0'))).toEqual(others);
        const after = apply(half, planEnsure(half, 'br0', wanted));
        const made = after.find((l) => l.name === 'br0');
        expect(made).toMatchObject({ up: true, owned: true, bridge: true });
        expect([...(made?.addresses ?? [])].sort()).toEqual([...wanted].sort());
        expect(after.filter((l) => l.name !== 'br0')).toEqual(others);
        expect(planEnsure(after, 'br0', wanted)).toEqual([]);
        expect(apply(after, planRemove(after, 'br0'))).toEqual(others);
      }),
    );
  });

  it('is refused for what is not ours, in use, or no bridge', () => {
    const foreign = [link({ name: 'docker0', owned: false })];
    expect(() => planEnsure(foreign, 'docker0', [])).toThrow('was not made by Berth');
    expect(() => planRemove(foreign, 'docker0')).toThrow('was not made by Berth');
    expect(() => planEnsure([link({ name: 'eth0', bridge: false })], 'eth0', [])).toThrow('not a bridge');
    const used = [link({ name: 'br0' }), link({ name: 'vnet3', bridge: false, master: 'br0' })];
    expect(() => planRemove(used, 'br0')).toThrow('still has ports (vnet3)');
  });

  it.each(['', '../x', '-d', 'a b', 'sixteen-letters-', '.berth-0', 'br0\n', 'x;y'])(
    'is refused for the name %j',
    (name) => {
      expect(() => planEnsure([], name, [])).toThrow('is not a bridge name');
      expect(() => planRemove([], name)).toThrow('is not a bridge name');
    },
  );

  it.each([
    '',
    '10.0.0.1',
    '10.0.0.1/33',
    '10.0.0/24',
    'fd00::1/129',
    'fe80::1%eth0/64',
    '10.0.0.1/-1',
    '10.0.0.1/24 up',
  ])('is refused for the address %j', (cidr) =>
    expect(() => planEnsure([], 'br0', [cidr])).toThrow('is not an address with a prefix'),
  );
});

describe('what ip reports', () => {
  it('is read with owner, ports and addresses, without those the kernel made up', () => {
    const links = JSON.stringify([
      { ifname: 'lo', flags: ['LOOPBACK', 'UP'] },
      { ifname: 'b0', flags: ['UP'], ifalias: 'berth', linkinfo: { info_kind: 'bridge' } },
      { ifname: 'v0', flags: [], master: 'b0', linkinfo: { info_kind: 'veth' } },
      {},
    ]);
    const addresses = JSON.stringify([
      {
        ifname: 'b0',
        addr_info: [
          { family: 'inet', local: '10.9.0.1', prefixlen: 24, scope: 'global' },
          { family: 'inet6', local: 'fd00:9::1', prefixlen: 64, scope: 'global' },
          { family: 'inet6', local: 'fe80::1', prefixlen: 64, scope: 'link' },
        ],
      },
    ]);
    expect(parseLinks(links, addresses)).toEqual([
      { name: 'lo', bridge: false, up: true, owned: false, master: undefined, addresses: [] },
      {
        name: 'b0',
        bridge: true,
        up: true,
        owned: true,
        master: undefined,
        addresses: ['10.9.0.1/24', 'fd00:9::1/64'],
      },
      { name: 'v0', bridge: false, up: false, owned: false, master: 'b0', addresses: [] },
    ]);
    expect(parseLinks('', '')).toEqual([]);
  });

  it('has one spelling per address', () => {
    expect(canonicalCidr('FD00:0009:0:0::0001/064')).toBe('fd00:9::1/64');
    expect(canonicalCidr('10.9.0.1/24')).toBe('10.9.0.1/24');
  });
});
