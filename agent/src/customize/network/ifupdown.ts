/** ifupdown (Debian, Alpine): /etc/network/interfaces and what lies in interfaces.d. Pure. */
import { isIP } from 'node:net';
import type { SeedNic } from '../../volume/seed-files.ts';
import type { Change } from '../../drivers/guest-disks.ts';
import { linesOf, remove, textOf, write, type Guest, type Plan } from '../guest.ts';
import { pinNames } from './pin-names.ts';

const MAIN = '/etc/network/interfaces';
const RULES = '/etc/udev/rules.d/70-berth-net.rules';

export function ifupdown(guest: Guest, nics: readonly SeedNic[]): Plan {
  const files = guest.paths(/^\/etc\/network\/interfaces(\.d\/[^/]+)?$/);
  const read = files.map((path) => ({ path, stanzas: stanzasOf(guest.text(path) ?? '') }));
  const old = [...new Set(read.flatMap(({ stanzas }) => stanzas.filter(isCard).map((s) => s.name)))];
  // busybox has names of the kernel's alone
  const known = guest.is('alpine') ? nics.map((_, i) => `eth${i}`) : old;
  const { names, rules } = pinNames(nics, known);
  const changes = read.filter(({ path }) => path !== MAIN).flatMap(({ path, stanzas }) => without(path, stanzas, old));
  const main = read.find(({ path }) => path === MAIN)?.stanzas ?? [];
  const kept = drop(main, old).flatMap((s) => s.lines);
  const lo = kept.some((l) => /^\s*iface\s+lo\b/.test(l)) ? [] : ['auto lo', 'iface lo inet loopback'];
  const text = textOf([...trimmed(kept), ...lo, ...nics.flatMap((n, i) => stanza(n, names[i]!))]);
  const pinned: Change[] = guest.is('alpine') ? [] : [write(RULES, rules)];
  return { changes: [...changes, write(MAIN, text), ...pinned], words: [] };
}

function stanza(n: SeedNic, name: string): string[] {
  const head = ['', `auto ${name}`];
  if (n.address === '') return [...head, `iface ${name} inet dhcp`];
  const [ip = '', prefix = ''] = n.address.split('/');
  const six = isIP(ip) === 6;
  return [
    ...head,
    `iface ${name} ${six ? 'inet6' : 'inet'} static`,
    `    address ${ip}`,
    `    netmask ${six ? prefix : maskOf(Number(prefix))}`,
    ...(n.gateway === '' ? [] : [`    gateway ${n.gateway}`]),
    ...(n.dns.length === 0 ? [] : [`    dns-nameservers ${n.dns.join(' ')}`]),
  ];
}

/** 24 → 255.255.255.0: older ifupdown and busybox know nothing else. */
export const maskOf = (prefix: number): string =>
  [0, 8, 16, 24].map((at) => 256 - 2 ** (8 - Math.min(8, Math.max(0, prefix - at)))).join('.');

interface Stanza {
  /** iface, auto, allow-hotplug, mapping, source, or empty for what comes before any. */
  readonly word: string;
  readonly name: string;
  readonly lines: readonly string[];
}

const HEADS = /^\s*(iface|auto|allow-[a-z]+|mapping|source|source-directory|no-auto-down|no-scripts)\s+(\S+)/;

function stanzasOf(text: string): Stanza[] {
  const all: { word: string; name: string; lines: string[] }[] = [];
  for (const line of linesOf(text)) {
    const head = HEADS.exec(line);
    const open = all.findLast((s) => s.word !== '');
    const beside = line.trim() === '' || line.trim().startsWith('#');
    if (head) all.push({ word: head[1]!, name: head[2]!, lines: [line] });
    else if (open === undefined || beside) all.push({ word: '', name: '', lines: [line] });
    else open.lines.push(line);
  }
  return all;
}

/** Of an Ethernet card: nothing that was built of others. */
const isCard = (s: Stanza): boolean =>
  s.word === 'iface' &&
  s.name !== 'lo' &&
  !/[.:]|^(br|bond|vlan|wg|tun|tap|dummy|wl)/.test(s.name) &&
  !s.lines.some((l) => /^\s*(bridge|bond|vlan|wpa)[-_]/.test(l));

/** `auto eth0 eth1` may name others as well. */
function drop(stanzas: readonly Stanza[], names: readonly string[]): Stanza[] {
  return stanzas.flatMap((s) => {
    if (s.word === 'iface' || s.word === 'mapping') return names.includes(s.name) ? [] : [s];
    if (s.word !== 'auto' && !s.word.startsWith('allow-')) return [s];
    const left = s.lines[0]!.trim()
      .split(/\s+/)
      .slice(1)
      .filter((n) => !names.includes(n));
    return left.length === 0 ? [] : [{ ...s, lines: [`${s.word} ${left.join(' ')}`] }];
  });
}

function without(path: string, stanzas: readonly Stanza[], names: readonly string[]): Change[] {
  const left = drop(stanzas, names);
  if (left.length === stanzas.length) return [];
  if (left.every((s) => s.word === '')) return [remove(path)];
  return [write(path, textOf(left.flatMap((s) => s.lines)))];
}

const trimmed = (lines: readonly string[]): string[] => {
  const all = [...lines];
  while (all.at(-1)?.trim() === '') all.pop();
  return all;
};
