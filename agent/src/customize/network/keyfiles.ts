/** NetworkManager's keyfiles (Red Hat 9, desktops): one per card, found by its MAC address. Pure. */
import { isIP } from 'node:net';
import type { SeedNic } from '../../volume/seed-files.ts';
import { remove, textOf, write, type Guest, type Plan } from '../guest.ts';

const DIR = '/etc/NetworkManager/system-connections';

export function keyfiles(guest: Guest, nics: readonly SeedNic[]): Plan {
  const old = ethernetFiles(guest);
  return {
    // what it reads must be root's alone
    changes: [...old.map(remove), ...nics.map((n, i) => write(`${DIR}/berth-nic${i}.nmconnection`, file(n, i), 0o600))],
    words: [],
  };
}

/** Connections of Ethernet cards that are in no bridge, bond or team. */
export const ethernetFiles = (guest: Guest): string[] =>
  guest.paths(/^\/etc\/NetworkManager\/system-connections\/[^/]+$/).filter((path) => {
    const text = guest.text(path) ?? '';
    return (
      /^\s*type\s*=\s*(802-3-)?ethernet\s*$/m.test(text) &&
      !/^\s*(master|controller|slave-type|port-type)\s*=/m.test(text)
    );
  });

function file(n: SeedNic, i: number): string {
  const six = isIP(n.address.split('/')[0] ?? '') === 6;
  return textOf([
    '[connection]',
    `id=berth-nic${i}`,
    'type=ethernet',
    'autoconnect=true',
    'autoconnect-priority=10',
    '',
    '[ethernet]',
    `mac-address=${n.mac.toUpperCase()}`,
    '',
    '[ipv4]',
    ...(six ? ['method=disabled'] : method(n)),
    '',
    '[ipv6]',
    ...(six ? method(n) : ['method=auto']),
  ]);
}

function method(n: SeedNic): string[] {
  const dns = n.dns.filter((d) => n.address === '' || isIP(d) === isIP(n.address.split('/')[0] ?? ''));
  const servers = dns.length === 0 ? [] : [`dns=${dns.join(';')};`];
  if (n.address === '') return ['method=auto', ...servers.filter(() => dns.every((d) => isIP(d) === 4))];
  return ['method=manual', `address1=${n.address}${n.gateway === '' ? '' : `,${n.gateway}`}`, ...servers];
}
