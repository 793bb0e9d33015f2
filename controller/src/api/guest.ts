/** GuestService: guests from inside, and what is done there. */
import {
  GuestAgentState,
  type ExecInGuestResponse,
  type Guest,
  type GuestServiceService,
} from '@berth/proto/v1/guest.ts';
import type { GuestSeen } from '@berth/shared/model/guest.ts';
import type { GuestsApp } from '../app/guests.ts';
import type { GuestNews } from '../hosts/guest-client.ts';
import type { Handlers } from './call.ts';
import { fromWire, toWire } from './numbers.ts';

export const guestHandlers = (guests: GuestsApp): Handlers<GuestServiceService> => ({
  readGuest: async (r) => toGuest(await guests.read(r.vm)),
  syncGuestTime: async (r) => ({ clockOffsetMs: offset(await guests.syncTime(r.vm)) }),
  freezeGuest: async (r) => {
    const { fileSystems, thawAtMs } = await guests.freeze(r.vm, fromWire('thaw_after_ms', r.thawAfterMs));
    return { fileSystems, thawAtMs: toWire(thawAtMs) };
  },
  thawGuest: async (r) => ({ fileSystems: await guests.thaw(r.vm) }),
  setGuestPassword: async (r) => {
    await guests.setPassword(r.vm, r.user, r.password);
    return {};
  },
  execInGuest: async function* (r, call) {
    const timeoutMs = fromWire('timeout_ms', r.timeoutMs);
    const { program, arguments: words, environment, input } = r;
    const request = { program, arguments: words, environment, input: Buffer.from(input), timeoutMs };
    for await (const news of guests.exec(r.vm, request, call.signal)) yield toNews(news);
  },
});

const toNews = (message: GuestNews): ExecInGuestResponse => ({ message });

const STATE = {
  connected: GuestAgentState.CONNECTED,
  absent: GuestAgentState.ABSENT,
  silent: GuestAgentState.SILENT,
} as const satisfies Record<GuestSeen['agent'], GuestAgentState>;

const offset = (ms: number | undefined): bigint | undefined => (ms === undefined ? undefined : BigInt(Math.trunc(ms)));

export const toGuest = (g: GuestSeen): Guest => ({
  agent: STATE[g.agent],
  hostname: g.hostname,
  os: g.os,
  kernel: g.kernel,
  timeZone: g.timeZone,
  utcOffsetSeconds: g.utcOffsetSeconds,
  interfaces: g.interfaces.map((i) => ({ ...i, addresses: [...i.addresses] })),
  fileSystems: g.fileSystems.map((f) => ({
    mountPoint: f.mountPoint,
    type: f.type,
    totalBytes: toWire(f.totalBytes),
    usedBytes: toWire(f.usedBytes),
  })),
  users: g.users.map((u) => ({ name: u.name, loginAtMs: toWire(u.loginAtMs) })),
  frozenAtMs: toWire(g.frozenAtMs),
  thawAtMs: toWire(g.thawAtMs),
  clockOffsetMs: offset(g.clockOffsetMs),
});
