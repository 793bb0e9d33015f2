/** What people see of a guest from inside. What it says of itself is cut and cleaned by host and controller. */
import { GuestAgentState, type Guest, type GuestFileSystem } from '@berth/proto/v1/guest.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import { percent } from '../core/words.ts';

type Pair = readonly [string, string];

const AGENT: Readonly<Record<number, string>> = {
  [GuestAgentState.CONNECTED]: 'connected',
  [GuestAgentState.ABSENT]: 'absent',
  [GuestAgentState.SILENT]: 'silent',
};
export const agentWord = (agent: GuestAgentState): string => AGENT[agent] ?? 'unknown';

const AGENT_WORDS: Readonly<Record<string, string>> = {
  absent: 'absent (how to get one: berth vm guest-info)',
  silent: 'silent: it is there and does not answer',
};

/** @param g of the API, or with its agent in words. */
export function guestFields(g: Omit<Guest, 'agent'> & { readonly agent: string }, nowMs: number): Pair[] {
  return [
    ['guest agent', AGENT_WORDS[g.agent] ?? g.agent],
    ['guest name', g.hostname],
    ['guest system', [g.os, g.kernel && `kernel ${g.kernel}`].filter((s) => s !== '').join(', ')],
    ['time zone', g.timeZone && `${g.timeZone}${offsetWords(g.utcOffsetSeconds)}`],
    ...g.interfaces
      .filter((i) => i.addresses.length > 0 && !i.addresses.every(isLoopback))
      .map((i): Pair => [`address ${i.name}`, i.addresses.join(', ')]),
    ...g.fileSystems.map((f): Pair => [`mount ${f.mountPoint}`, mountWords(f)]),
    ...g.users.map((u): Pair => [
      `user ${u.name}`,
      u.loginAtMs > 0n ? `logged in for ${formatAge(nowMs - Number(u.loginAtMs))}` : 'logged in',
    ]),
    ['frozen', g.frozenAtMs > 0n ? `for ${formatAge(nowMs - Number(g.frozenAtMs))}` : ''],
  ];
}

const offsetWords = (seconds: number): string => {
  if (seconds === 0) return '';
  const minutes = Math.round(Math.abs(seconds) / 60);
  const two = (n: number): string => String(n).padStart(2, '0');
  return ` (UTC${seconds < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}:${two(minutes % 60)})`;
};

function mountWords({ type, totalBytes, usedBytes }: GuestFileSystem): string {
  if (totalBytes === 0n) return type;
  const share = percent(Number(usedBytes) / Number(totalBytes));
  return `${formatBytes(Number(usedBytes))} of ${formatBytes(Number(totalBytes))} used (${share}), ${type}`;
}

const isLoopback = (cidr: string): boolean => /^(127\.|::1\/)/.test(cidr);
