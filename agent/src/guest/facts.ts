/**
 * From what a guest says to what is believed fit to be shown: cut to size, on one line, without what drives terminals, without
 * absurd numbers. Pure. A guest may say anything: nothing here throws.
 */
import { isIP } from 'node:net';
import { GUEST_LIMITS, type GuestFacts, type GuestFileSystem, type GuestInterface } from '@berth/shared/model/guest.ts';
import { oneLine } from '@berth/shared/units/text.ts';
import type { GuestSaid } from '../drivers/guest-agents.ts';

const text = (said: string | undefined, chars: number = GUEST_LIMITS.textChars): string => oneLine(said ?? '', chars);

const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i;
/** The zones of the world lie between −12 and +14 hours. */
const FURTHEST_SECONDS = 15 * 3600;
const LATEST_MS = 8.64e15;
const MOST_BYTES = BigInt(Number.MAX_SAFE_INTEGER);

export function tame(said: GuestSaid): GuestFacts {
  const offset = said.utcOffsetSeconds ?? 0;
  return {
    hostname: text(said.hostname, 253),
    os: text(said.os),
    kernel: text(said.kernel),
    timeZone: text(said.timeZone, 64),
    utcOffsetSeconds: Math.abs(offset) <= FURTHEST_SECONDS ? Math.trunc(offset) : 0,
    interfaces: (said.interfaces ?? []).slice(0, GUEST_LIMITS.interfaces).map(tameInterface),
    fileSystems: (said.fileSystems ?? []).slice(0, GUEST_LIMITS.fileSystems).map(tameFileSystem),
    users: (said.users ?? []).slice(0, GUEST_LIMITS.users).map(({ name, loginAtMs }) => ({
      name: text(name, 64),
      loginAtMs: loginAtMs > 0 && loginAtMs <= LATEST_MS ? Math.trunc(loginAtMs) : 0,
    })),
  };
}

function tameInterface(i: NonNullable<GuestSaid['interfaces']>[number]): GuestInterface {
  const addresses = i.addresses.flatMap(({ address, prefix }) => {
    const bits = { 4: 32, 6: 128 }[isIP(address)];
    if (bits === undefined || address.includes('%')) return [];
    return Number.isInteger(prefix) && prefix >= 0 && prefix <= bits ? [`${address.toLowerCase()}/${prefix}`] : [];
  });
  return {
    name: text(i.name, 64),
    mac: MAC.test(i.mac) ? i.mac.toLowerCase() : '',
    addresses: addresses.slice(0, GUEST_LIMITS.addresses),
  };
}

/** More used than there is: nothing is said. */
function tameFileSystem(f: NonNullable<GuestSaid['fileSystems']>[number]): GuestFileSystem {
  const sane = f.totalBytes > 0n && f.totalBytes <= MOST_BYTES && f.usedBytes >= 0n && f.usedBytes <= f.totalBytes;
  return {
    mountPoint: text(f.mountPoint, GUEST_LIMITS.pathChars),
    type: text(f.type, 32),
    totalBytes: sane ? Number(f.totalBytes) : 0,
    usedBytes: sane ? Number(f.usedBytes) : 0,
  };
}

/** Sizes in use change with every breath of a guest: rounded, so that only what people would notice is told to the controller. */
export const roundUse = (facts: GuestFacts): GuestFacts => ({
  ...facts,
  fileSystems: facts.fileSystems.map((f) => {
    const grain = Math.max(2 ** 20, Math.floor(f.totalBytes / 256));
    return { ...f, usedBytes: Math.min(f.totalBytes, Math.round(f.usedBytes / grain) * grain) };
  }),
});
