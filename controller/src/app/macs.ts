/** MAC addresses of VMs: given ones are checked, others come from Berth's pool. Uniqueness is checked against all VMs. */
import { alreadyExists, ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { VmId } from '@berth/shared/model/ids.ts';
import type { Random } from '@berth/shared/runtime/random.ts';
import type { Tables } from '../state/state.ts';

/** The prefix that QEMU guests use everywhere. */
const PREFIX = '52:54:00';
const TRIES = 100;
const POOL = 2 ** 24;
/** So many neighbours are looked at when random ones were all taken; more would hold everything else up. */
const NEIGHBOURS = 65_536;

/** Lower case with colons; `52-54-00-aa-bb-cc` and upper case are read too. */
export function normaliseMac(given: string): string {
  const digits = given.trim().toLowerCase().replaceAll('-', ':');
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(digits))
    throw invalidArgument(
      `${JSON.stringify(given.slice(0, 40))} is not a MAC address: write it like 52:54:00:1a:2b:3c`,
    );
  if (Number.parseInt(digits.slice(0, 2), 16) % 2 === 1)
    throw invalidArgument(
      `${digits} is a multicast address: no network card can have it (the first byte must be even)`,
    );
  if (/^(00:){5}00$/.test(digits)) throw invalidArgument(`${digits} is not an address that a network card can have`);
  return digits;
}

/** @param own the VM that it is for, if it is there already. */
export function givenMac(tables: Tables, given: string, own?: VmId): string {
  const mac = normaliseMac(given);
  const holder = tables.vms.byMac(mac);
  if (holder && (own === undefined || holder.id !== own))
    throw alreadyExists(`MAC address ${mac} is taken by vm ${holder.name}`);
  return mac;
}

/** Random, then, in a pool that is nearly full, the next free one after it. */
export function freeMac(tables: Tables, random: Random): string {
  const start = Math.floor(random.next() * POOL);
  for (let i = 0; i < TRIES; i++) {
    const candidate = macOf(Math.floor(random.next() * POOL));
    if (!tables.vms.byMac(candidate)) return candidate;
  }
  for (let i = 0; i < NEIGHBOURS; i++) {
    const candidate = macOf((start + i) % POOL);
    if (!tables.vms.byMac(candidate)) return candidate;
  }
  throw new ClusterError('NO_CAPACITY', `no free MAC address was found in the pool ${PREFIX}: give one with --mac`);
}

function macOf(n: number): string {
  const hex = n.toString(16).padStart(6, '0');
  return `${PREFIX}:${hex.slice(0, 2)}:${hex.slice(2, 4)}:${hex.slice(4)}`;
}
