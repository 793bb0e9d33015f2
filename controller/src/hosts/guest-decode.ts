/** From what an agent sends of a guest to what the controller keeps: bounded again, since a host may lie as well as a guest. Pure. */
import { GuestAgentState, type GuestStatus } from '@berth/proto/agent/v1/guest.ts';
import { GUEST_LIMITS, type GuestSeen } from '@berth/shared/model/guest.ts';
import { clip } from './limits.ts';

const STATE: Readonly<Partial<Record<GuestAgentState, GuestSeen['agent']>>> = {
  [GuestAgentState.CONNECTED]: 'connected',
  [GuestAgentState.SILENT]: 'silent',
};

const MOST = BigInt(Number.MAX_SAFE_INTEGER);
const number = (n: bigint): number => Number(n > MOST ? 0n : n);
const text = (s: string, chars: number = GUEST_LIMITS.textChars): string => clip(s, chars);
/** Commands are given it: nothing else may look like one. */
const CIDR = /^[0-9a-f.:]{2,45}\/\d{1,3}$/i;
const FURTHEST_SECONDS = 15 * 3600;

/** Undefined when nothing sane was said. */
export const toOffset = (n: bigint | undefined): number | undefined =>
  n === undefined || n > MOST || n < -MOST ? undefined : Number(n);

export const toGuest = (g: GuestStatus): GuestSeen => ({
  agent: STATE[g.agent] ?? 'absent',
  hostname: text(g.hostname, 253),
  os: text(g.os),
  kernel: text(g.kernel),
  timeZone: text(g.timeZone),
  utcOffsetSeconds: Math.abs(g.utcOffsetSeconds) <= FURTHEST_SECONDS ? g.utcOffsetSeconds : 0,
  interfaces: g.interfaces.slice(0, GUEST_LIMITS.interfaces).map((i) => ({
    name: text(i.name, 64),
    mac: text(i.mac, 17),
    addresses: i.addresses.slice(0, GUEST_LIMITS.addresses).filter((a) => CIDR.test(a)),
  })),
  fileSystems: g.fileSystems.slice(0, GUEST_LIMITS.fileSystems).map((f) => ({
    mountPoint: text(f.mountPoint, GUEST_LIMITS.pathChars),
    type: text(f.type, 32),
    totalBytes: number(f.totalBytes),
    usedBytes: number(f.usedBytes),
  })),
  users: g.users.slice(0, GUEST_LIMITS.users).map((u) => ({ name: text(u.name, 64), loginAtMs: number(u.loginAtMs) })),
  lastResetAtMs: number(g.lastResetAtMs),
  frozenAtMs: number(g.frozenAtMs),
  thawAtMs: number(g.thawAtMs),
  clockOffsetMs: toOffset(g.clockOffsetMs),
});
