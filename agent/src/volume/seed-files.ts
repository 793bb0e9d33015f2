/** The files of a NoCloud seed: meta-data, user-data, network-config (version 2, matched by MAC). Pure; kept in golden files. */
import { stringify } from 'yaml';
import { isIP } from 'node:net';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { isSshKey } from '@berth/shared/trust/ssh-key.ts';
import { checkMac } from '../ids.ts';

export interface Seed {
  readonly instanceId: string;
  readonly hostname: string;
  readonly nics: readonly SeedNic[];
  readonly sshKeys: readonly string[];
  /** Verbatim user-data; empty: one made from the fields above. */
  readonly userData: string;
}

export interface SeedNic {
  readonly mac: string;
  /** CIDR, or empty for DHCP. */
  readonly address: string;
  readonly gateway: string;
  readonly dns: readonly string[];
}

const MAX_USER_DATA = 1 << 20;
const yaml = (value: unknown): string => stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });

export function seedFiles(seed: Seed): Record<string, string> {
  checkSeed(seed);
  return {
    'meta-data': yaml({ 'instance-id': seed.instanceId, 'local-hostname': seed.hostname, ...keysBeside(seed) }),
    'user-data': seed.userData === '' ? userData(seed) : seed.userData,
    'network-config': networkConfig(seed.nics),
  };
}

/** User-data that a person wrote is left as it is: keys come beside it, and cloud-init takes both. */
const keysBeside = ({ userData, sshKeys }: Seed): object =>
  userData === '' || sshKeys.length === 0 ? {} : { 'public-keys': sshKeys };

function userData(seed: Seed): string {
  const keys = seed.sshKeys.length > 0 ? { ssh_authorized_keys: seed.sshKeys } : {};
  return `#cloud-config\n${yaml({ hostname: seed.hostname, preserve_hostname: false, ...keys })}`;
}

/** `gateway4`, though it is old: as a route, cloud-init would set it up with a program that small Debian guests lack (net-tools). */
const networkConfig = (nics: readonly SeedNic[]): string =>
  yaml(networkVersion2(nics, (via) => ({ [via.includes(':') ? 'gateway6' : 'gateway4']: via })));

/** As cloud-init and netplan both take it: cards are found by their MAC addresses. @param gateway how each says it. */
export const networkVersion2 = (nics: readonly SeedNic[], gateway: (via: string) => object = asRoute): object => ({
  version: 2,
  ethernets: Object.fromEntries(nics.map((n, i) => [`nic${i}`, ethernet(n, gateway)])),
});

/** `0.0.0.0/0` and not `default`: older netplan knows only the former. */
const asRoute = (via: string): object => ({ routes: [{ to: via.includes(':') ? '::/0' : '0.0.0.0/0', via }] });

/** Name servers come last, for simple readers. */
function ethernet(n: SeedNic, gateway: (via: string) => object): object {
  const match = { match: { macaddress: checkMac(n.mac) } };
  const dns = n.dns.length > 0 ? { nameservers: { addresses: n.dns } } : {};
  if (n.address === '') return { ...match, dhcp4: true, ...dns };
  const routes = n.gateway === '' ? {} : gateway(n.gateway);
  return { ...match, dhcp4: false, addresses: [n.address], ...routes, ...dns };
}

/** @throws INVALID_ARGUMENT */
export function checkSeed(s: Seed): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,250}$/.test(s.instanceId))
    throw invalidArgument('the seed has no valid instance id');
  if (!/^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(s.hostname))
    throw invalidArgument(
      `${JSON.stringify(s.hostname.slice(0, 80))} cannot be a guest's host name: use letters, digits, '-' and '.'`,
    );
  if (Buffer.byteLength(s.userData) > MAX_USER_DATA) throw invalidArgument('the user-data is larger than 1 MiB');
  const badKey = s.sshKeys.find((k) => !isSshKey(k));
  if (badKey !== undefined) throw invalidArgument(`${JSON.stringify(badKey.slice(0, 60))} is not an SSH public key`);
  for (const n of s.nics) checkNic(n);
}

function checkNic(n: SeedNic): void {
  const [ip = '', bits = ''] = n.address.split('/');
  const width = isIP(ip) === 6 ? 128 : 32;
  if (n.address !== '' && (isIP(ip) === 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > width))
    throw invalidArgument(
      `${JSON.stringify(n.address.slice(0, 60))} is not an address with a prefix, like 10.0.0.5/24`,
    );
  const wrong = [...(n.gateway === '' ? [] : [n.gateway]), ...n.dns].find((a) => isIP(a) === 0);
  if (wrong !== undefined) throw invalidArgument(`${JSON.stringify(wrong.slice(0, 60))} is not an IP address`);
}
