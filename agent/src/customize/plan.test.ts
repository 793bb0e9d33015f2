/** What is written into guests of each family (golden), and what holds for all of them. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectGolden } from '@berth/test/harness/golden.ts';
import type { Change } from '../drivers/guest-disks.ts';
import { checkActions, type Actions } from './actions.ts';
import { Guest } from './guest.ts';
import { guest, GUESTS } from './guests.fixture.ts';
import { LOOKS, planFor } from './plan.ts';

const NONE: Actions = {
  ...{ hostname: '', nics: [], sshKeys: [], sshUser: '', firstBoot: '' },
  ...{ serialLogin: false, newMachineId: false, newHostKeys: false, generalize: false },
};
const ALL: Actions = {
  hostname: 'web.example.org',
  nics: [
    { mac: '52:54:00:0a:0b:0c', address: '10.77.0.11/22', gateway: '10.77.0.1', dns: ['10.77.0.1', '9.9.9.9'] },
    { mac: '52:54:00:0a:0b:0d', address: '', gateway: '', dns: [] },
    { mac: '52:54:00:0a:0b:0e', address: 'fd00::11/64', gateway: 'fd00::1', dns: ['fd00::1'] },
  ],
  sshKeys: ['ssh-ed25519 AAAA ops@x'],
  sshUser: '',
  firstBoot: '#!/bin/sh\necho "hello $USER"\n',
  ...{ serialLogin: true, newMachineId: true, newHostKeys: true, generalize: false },
};
const names = Object.keys(GUESTS);

function shown(changes: readonly Change[]): string {
  const one = (c: Change): string => {
    const more = `${'mode' in c && c.mode !== undefined ? ` 0${c.mode.toString(8)}` : ''}${'owner' in c && c.owner ? ` ${c.owner.uid}:${c.owner.gid}` : ''}`;
    if (c.kind === 'write') return `==> ${c.path}${more}\n${c.text.replace(/#{9,}$/, '###…\n')}`;
    return `${c.kind} ${c.path}${c.kind === 'link' ? ` -> ${c.target}` : ''}${more}\n`;
  };
  return changes.map(one).join('');
}
const plan = (name: string, actions: Partial<Actions>) => planFor({ ...NONE, ...actions }, guest(GUESTS[name]!));
const written = (name: string, actions: Partial<Actions>, path: string): string | undefined =>
  new Guest(guest(GUESTS[name]!)).after(plan(name, actions).changes).text(path);

describe.each(names)('%s', (name) => {
  const file = name.replace(/\W+/g, '-');

  it('gets an identity, and a login on its serial port', () => {
    const { words, changes } = plan(name, ALL);
    expectGolden(import.meta.url, `${file}.identity.txt`, `${words.join(', ')}\n\n${shown(changes)}`);
  });

  it('loses what made it one machine among others', () => {
    const { words, changes } = plan(name, { generalize: true });
    expectGolden(import.meta.url, `${file}.general.txt`, `${words.join(', ')}\n\n${shown(changes)}`);
  });

  it('has nothing of the template left: neither its address nor its MAC address', () => {
    for (const actions of [{ ...ALL, generalize: true }, ALL]) {
      const after = new Guest(guest(GUESTS[name]!)).after(planFor(actions, guest(GUESTS[name]!)).changes);
      const texts = after
        .paths(/^\/etc\/(network|netplan|sysconfig|NetworkManager|systemd\/network)/)
        .map((p) => after.text(p));
      expect(texts.join('\n')).not.toMatch(/10\.0\.0\.9|52:54:00:00:00:99/);
    }
  });

  it('is the same when it is done twice', () => {
    const once = new Guest(guest(GUESTS[name]!)).after(plan(name, ALL).changes);
    const twice = once.after(planFor(ALL, once.entries).changes);
    const files = (g: Guest) => Object.fromEntries(g.paths(/./).map((p) => [p, g.text(p)]));
    expect(files(twice)).toEqual(files(once));
  });

  it('is looked at wherever its fixture has something', () => {
    const looked = (path: string) =>
      LOOKS.some((l) =>
        new RegExp(
          `^${l.path
            .split('*')
            .map((s) => s.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
            .join('[^/]*')}$`,
        ).test(path),
      );
    expect(Object.keys(GUESTS[name]!).filter((p) => !looked(p))).toEqual([]);
  });

  it('keeps every line of a boot file that names no kernel, whatever is in it', () => {
    fc.assert(
      fc.property(fc.array(fc.stringMatching(/^[ -~]{0,40}$/)), (lines) => {
        const text = `${lines.join('\n')}\n`;
        const found = guest({ ...GUESTS[name], '/boot/grub/grub.cfg': text });
        const now = new Guest(found)
          .after(planFor({ ...NONE, serialLogin: true }, found).changes)
          .text('/boot/grub/grub.cfg');
        const strip = (t = '') =>
          t
            .replaceAll(' console=tty0 console=ttyS0,115200', '')
            .split('\n')
            .map((l) => l.trimEnd());
        expect(strip(now)).toEqual(strip(text));
      }),
      { numRuns: 30 },
    );
  });
});

describe('what is asked of a guest', () => {
  it('touches only what was asked for', () => {
    expect(plan('debian12', { hostname: 'db' }).changes.map((c) => c.path)).toEqual(['/etc/hostname', '/etc/hosts']);
    expect(plan('debian12', { hostname: 'db' }).words).toEqual(['Debian GNU/Linux 12 (bookworm)', 'host name db']);
  });

  it('gives a key to the user that was named, with the folder and files theirs', () => {
    const { changes } = plan('debian12', { sshKeys: ALL.sshKeys, sshUser: 'ops' });
    expect(changes).toMatchObject([
      { kind: 'folder', path: '/home/ops/.ssh', mode: 0o700, owner: { uid: 1000, gid: 1000 } },
      { kind: 'write', path: '/home/ops/.ssh/authorized_keys', mode: 0o600, owner: { uid: 1000 } },
    ]);
    expect(() => plan('debian12', { sshKeys: ALL.sshKeys, sshUser: 'nobody' })).toThrow(
      /has no user nobody with a home folder/,
    );
  });

  it('keeps keys that are there, and adds each once', () => {
    const there = guest({ ...GUESTS['debian12'], '/root/.ssh/authorized_keys': `old\n${ALL.sshKeys[0]}\n` });
    const { changes } = planFor({ ...NONE, sshKeys: ALL.sshKeys }, there);
    expect(changes.at(-1)).toMatchObject({ text: `old\n${ALL.sshKeys[0]}\n` });
  });

  it('gives cards of a guest that knows none names of its own, and addresses of both kinds', () => {
    const text = written('debian7, sysvinit', { nics: ALL.nics }, '/etc/network/interfaces');
    expect(text).toContain('auto lan0\niface lan0 inet static\n    address 10.77.0.11\n    netmask 255.255.252.0\n');
    expect(text).toContain('iface lan2 inet6 static\n    address fd00::11\n    netmask 64\n');
  });

  it('leaves an entry in GRUB that is there, and keeps the block of grubenv at its size', () => {
    expect(plan('networkd', { serialLogin: true }).changes.map((c) => c.path)).not.toContain(
      '/boot/loader/entries/arch.conf',
    );
    expect(written('rocky9', { serialLogin: true }, '/boot/grub2/grubenv')).toHaveLength(1024);
  });

  it.each([
    [
      { '/etc/hostname': '?' },
      { hostname: 'x' },
      /\/etc\/hostname of the guest is no regular file; nothing was changed/,
    ],
    [{ '/etc/hosts': '/' }, { hostname: 'x' }, /\/etc\/hosts of the guest is a folder/],
    [{ '/etc/passwd': '?' }, { sshKeys: ALL.sshKeys }, /has no user root with a home folder/],
    [{ '/etc/passwd': 'root:x:0:0::/root/../etc:/bin/sh\n' }, { sshKeys: ALL.sshKeys }, /has no user root/],
    [{ '/etc/passwd': 'root:x:0:0::relative:/bin/sh\n' }, { sshKeys: ALL.sshKeys }, /has no user root/],
    [{}, { nics: ALL.nics }, /in no way that is known here/],
    [{}, { serialLogin: true }, /no boot loader that is known here/],
    [{}, { firstBoot: '#!/bin/sh\n' }, /nothing in it would run a script/],
    [
      { '/etc/netplan/a.yaml': 'network: {bridges: {br0: {}}}\n' },
      { nics: ALL.nics },
      /a\.yaml of the guest builds bridges/,
    ],
  ])('is refused in one line where it cannot be done: %o %o', (files, actions, words) => {
    const attempt = () => planFor({ ...NONE, ...actions }, guest({ '/etc/os-release': 'ID=x\n', ...files }));
    expect(attempt).toThrow(words);
    expect(attempt).not.toThrow(/\n/);
  });

  it('shows nothing of a guest that could write to a terminal', () => {
    const { words } = planFor({ ...NONE, hostname: 'x' }, guest({ '/etc/os-release': 'PRETTY_NAME="a\x1b[2Jb"\n' }));
    expect(words[0]).toBe('a?[2Jb');
  });
});

describe('actions', () => {
  it.each([
    [{}, /nothing was asked for/],
    [{ hostname: '../x' }, /cannot be a guest's host name/],
    [{ hostname: 'x', sshUser: 'Ro ot' }, /no name of a user/],
    [{ firstBoot: 'echo hi\n' }, /first line/],
    [{ firstBoot: '#!/bin/sh\n\0' }, /no text/],
    [{ firstBoot: `#!/bin/sh\n${'x'.repeat(70_000)}` }, /65536 are allowed/],
    [{ sshKeys: ['not a key\nroot'] }, /not an SSH public key/],
    [{ nics: [{ mac: '52:54:00:0a:0b:0c', address: '10.0.0.1', gateway: '', dns: [] }] }, /an address with a prefix/],
  ])('%o is refused', (a, words) => {
    expect(() => checkActions({ ...NONE, ...a })).toThrow(words);
  });
});
