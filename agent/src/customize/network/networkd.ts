/** systemd-networkd: one file per card, found by its MAC address. Pure. */
import type { SeedNic } from '../../volume/seed-files.ts';
import type { Change } from '../../drivers/guest-disks.ts';
import { link, remove, textOf, write, type Guest, type Plan } from '../guest.ts';

const DIR = '/etc/systemd/network';
const UNIT = 'systemd-networkd.service';

export function networkd(guest: Guest, nics: readonly SeedNic[]): Plan {
  const old = cardFiles(guest);
  const wants = '/etc/systemd/system/multi-user.target.wants';
  const enable: Change[] = guest.has(`${wants}/${UNIT}`)
    ? []
    : [link(`${wants}/${UNIT}`, `/lib/systemd/system/${UNIT}`)];
  const ours = nics.map((n, i) => write(`${DIR}/10-berth-nic${i}.network`, file(n)));
  return { changes: [...old.map(remove), ...ours, ...enable], words: [] };
}

/** Those of cards: nothing that is part of a bridge or bond, or has networks on top. */
export const cardFiles = (guest: Guest): string[] =>
  guest.paths(/^\/etc\/systemd\/network\/[^/]+\.network$/).filter((path) => {
    const text = guest.text(path) ?? '';
    return (
      !/^\s*(Bridge|Bond|VLAN|MACVLAN|VRF|Tunnel)\s*=/m.test(text) &&
      !/^\s*Name\s*=\s*(br|bond|vlan|wg|lo|wl)/m.test(text)
    );
  });

const file = (n: SeedNic): string =>
  textOf([
    '[Match]',
    `MACAddress=${n.mac.toLowerCase()}`,
    '',
    '[Network]',
    ...(n.address === '' ? ['DHCP=yes'] : ['DHCP=no', `Address=${n.address}`]),
    ...(n.gateway === '' ? [] : [`Gateway=${n.gateway}`]),
    ...n.dns.map((d) => `DNS=${d}`),
  ]);
