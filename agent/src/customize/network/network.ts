/**
 * A guest's network: which system of it sets up cards at boot, and that system's planner. Cards are found by their MAC addresses
 * where the system can do that; where it knows names alone (ifupdown), a udev rule gives the card its name. What the
 * template had for Ethernet cards goes; bridges, bonds and VLANs that somebody built on top are left alone. Pure.
 */
import { unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { SeedNic } from '../../volume/seed-files.ts';
import { joined, NOTHING, remove, write, type Guest, type Plan } from '../guest.ts';
import { ifcfg } from './ifcfg.ts';
import { ifupdown } from './ifupdown.ts';
import { keyfiles } from './keyfiles.ts';
import { netplan } from './netplan.ts';
import { networkd } from './networkd.ts';

const SYSTEMS = {
  netplan: { plan: netplan, word: 'netplan' },
  ifcfg: { plan: ifcfg, word: 'ifcfg files' },
  ifupdown: { plan: ifupdown, word: 'ifupdown' },
  keyfiles: { plan: keyfiles, word: 'NetworkManager' },
  networkd: { plan: networkd, word: 'systemd-networkd' },
} as const;
export type System = keyof typeof SYSTEMS;

const WANTS = '/etc/systemd/system/multi-user.target.wants';
const INTERFACES = /^\/etc\/network\/interfaces(\.d\/[^/]+)?$/;

/** @throws UNSUPPORTED when there is none that we know. */
export function planNetwork(guest: Guest, nics: readonly SeedNic[]): Plan {
  if (nics.length === 0) return NOTHING;
  const system = systemOf(guest);
  if (system === undefined)
    throw unsupported(
      `${guest.title} sets up its network in no way that is known here: neither netplan, ifupdown, ifcfg files, NetworkManager ` +
        'nor systemd-networkd was found. Leave its addresses out, or give them to it with a first-boot script',
    );
  const { plan, word } = SYSTEMS[system];
  const shown = nics.map((n) => n.address || 'DHCP').join(', ');
  return joined([
    { changes: OLD_NAMES.map(remove), words: [] },
    plan(guest, nics),
    nameServers(guest, nics, system),
    noCloudNetwork(guest),
    { changes: [], words: [`${shown} by ${word}`] },
  ]);
}

/** What pins the names of cards to the MAC addresses of the template. */
export const OLD_NAMES = [
  '/etc/udev/rules.d/70-persistent-net.rules',
  '/etc/udev/rules.d/75-persistent-net-generator.rules',
];

export function systemOf(guest: Guest): System | undefined {
  if (guest.has('/usr/sbin/netplan') || guest.paths(/^\/etc\/netplan\/[^/]+\.yaml$/).length > 0) return 'netplan';
  const manager = guest.has('/usr/sbin/NetworkManager') && guest.has(`${WANTS}/NetworkManager.service`);
  if (hasIfcfg(guest)) return 'ifcfg';
  const ifup = guest.has('/sbin/ifup', '/usr/sbin/ifup', '/bin/ifup') && guest.has('/etc/network/interfaces');
  if (ifup && guest.paths(INTERFACES).some((p) => /^\s*iface\s+(?!lo\b)\S/m.test(guest.text(p) ?? '')))
    return 'ifupdown';
  if (manager) return 'keyfiles';
  const files = guest.paths(/^\/etc\/systemd\/network\/[^/]+\.network$/).length > 0;
  if (guest.has(`${WANTS}/systemd-networkd.service`) || (files && !ifup)) return 'networkd';
  if (ifup) return 'ifupdown';
  return guest.has('/usr/sbin/NetworkManager') ? 'keyfiles' : undefined;
}

/** Red Hat's up to 8; in 9 the folder holds a note that says to use keyfiles. */
function hasIfcfg(guest: Guest): boolean {
  const files = guest.paths(/^\/etc\/sysconfig\/network-scripts\/ifcfg-[^/]+$/).filter((p) => !p.endsWith('/ifcfg-lo'));
  if (files.length > 0) return true;
  return guest.has('/etc/sysconfig/network-scripts/ifup', '/etc/sysconfig/network-scripts/ifup-eth');
}

/** Systems that hand no name servers on write none by themselves: then the file is written, unless something else makes it. */
function nameServers(guest: Guest, nics: readonly SeedNic[], system: System): Plan {
  const dns = [...new Set(nics.flatMap((n) => n.dns))];
  const made =
    guest.entry('/etc/resolv.conf')?.kind === 'link' || guest.has('/sbin/resolvconf', '/usr/sbin/resolvconf');
  if (dns.length === 0 || made || (system !== 'ifupdown' && system !== 'networkd')) return NOTHING;
  return { changes: [write('/etc/resolv.conf', dns.map((d) => `nameserver ${d}\n`).join(''))], words: [] };
}

/** cloud-init would set up the network of the template, or DHCP, over it. */
function noCloudNetwork(guest: Guest): Plan {
  if (!guest.has('/etc/cloud')) return NOTHING;
  return {
    changes: [write('/etc/cloud/cloud.cfg.d/99-berth-network.cfg', 'network: {config: disabled}\n')],
    words: [],
  };
}
