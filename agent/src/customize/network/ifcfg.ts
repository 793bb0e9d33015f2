/** ifcfg files (Red Hat and its kin up to 8), read by the network scripts and by NetworkManager alike. Pure. */
import { isIP } from 'node:net';
import type { SeedNic } from '../../volume/seed-files.ts';
import type { Change } from '../../drivers/guest-disks.ts';
import { linesOf, remove, shellVariables, textOf, write, type Guest, type Plan } from '../guest.ts';

const DIR = '/etc/sysconfig/network-scripts';

export function ifcfg(guest: Guest, nics: readonly SeedNic[]): Plan {
  const cards = guest.paths(/^\/etc\/sysconfig\/network-scripts\/ifcfg-[^/]+$/).filter((p) => isCard(p, guest));
  const old = cards.map((p) => p.slice(`${DIR}/ifcfg-`.length));
  const names = nics.map((_, i) => old[i] ?? free(i, old));
  const gateway = nics.findIndex((n) => n.gateway !== '');
  const changes: Change[] = [
    ...old.filter((n) => !names.includes(n)).map((n) => remove(`${DIR}/ifcfg-${n}`)),
    // routes of the template's addresses
    ...old.flatMap((n) => ['route', 'route6'].map((r) => remove(`${DIR}/${r}-${n}`))),
    ...nics.map((n, i) => write(`${DIR}/ifcfg-${names[i]}`, file(n, names[i]!, i === gateway || gateway < 0))),
    ...global(guest),
  ];
  return { changes, words: [] };
}

/** Names beyond the template's: cards are found by MAC address, so any will do that is free. */
function free(i: number, old: readonly string[]): string {
  for (let n = i; ; n++) if (!old.includes(`lan${n}`)) return `lan${n}`;
}

function file(n: SeedNic, name: string, defaultRoute: boolean): string {
  const [ip = '', prefix = ''] = n.address.split('/');
  const address =
    ip === ''
      ? ['BOOTPROTO=dhcp']
      : isIP(ip) === 6
        ? ['BOOTPROTO=none', 'IPV6INIT=yes', 'IPV6_AUTOCONF=no', `IPV6ADDR=${n.address}`]
        : ['BOOTPROTO=none', `IPADDR=${ip}`, `PREFIX=${prefix}`];
  const gateway = n.gateway === '' ? [] : [`${isIP(n.gateway) === 6 ? 'IPV6_DEFAULTGW' : 'GATEWAY'}=${n.gateway}`];
  return textOf([
    // the kernel's own names are given back by udev from DEVICE and HWADDR; others would have to be the same in every VM
    ...(/^eth\d+$/.test(name) ? [`DEVICE=${name}`] : []),
    `NAME=${name}`,
    'TYPE=Ethernet',
    'ONBOOT=yes',
    `HWADDR=${n.mac.toUpperCase()}`,
    ...address,
    ...gateway,
    `DEFROUTE=${defaultRoute ? 'yes' : 'no'}`,
    ...n.dns.map((d, i) => `DNS${i + 1}=${d}`),
  ]);
}

function isCard(path: string, guest: Guest): boolean {
  if (/\/ifcfg-lo$|[.:~]|\.(bak|orig|rpm\w+)$/.test(path.slice(DIR.length))) return false;
  const v = shellVariables(guest.text(path) ?? '');
  const type = (v['TYPE'] ?? 'Ethernet').toLowerCase();
  return type === 'ethernet' && !['BRIDGE', 'MASTER', 'VLAN', 'TEAM_MASTER', 'BONDING_OPTS'].some((k) => k in v);
}

/** A gateway for all cards is the template's. */
function global(guest: Guest): Change[] {
  const path = '/etc/sysconfig/network';
  const lines = linesOf(guest.text(path) ?? '');
  const kept = lines.filter((l) => !/^\s*(GATEWAY|GATEWAYDEV)=/.test(l));
  return kept.length === lines.length ? [] : [write(path, textOf(kept))];
}
