/** GuestService on the wire, and what Watch tells of guests. */
import {
  GuestAgentState,
  GuestPowerAction,
  type FreezeGuestRequest,
  type GuestRequest,
  type GuestServiceServer,
  type GuestStatus,
  type RunInGuestRequest,
  type RunInGuestResponse,
  type SetGuestPasswordRequest,
} from '@berth/proto/agent/v1/guest.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { GuestSeen } from '@berth/shared/model/guest.ts';
import { checkDomainRef, type DomainRef } from '../domain/domains.ts';
import { checkRun, type GuestRun, type RunNews, type RunRequest } from '../guest/guest-run.ts';
import type { GuestVerbs } from '../guest/guest-verbs.ts';
import type { Operations } from '../operations/operations.ts';
import { operationIdOf, readFence, toNumber } from './decode.ts';
import { encodeOperation, toWire } from './encode.ts';
import type { Guard } from './guard.ts';

const STATE = {
  connected: GuestAgentState.CONNECTED,
  absent: GuestAgentState.ABSENT,
  silent: GuestAgentState.SILENT,
} as const satisfies Record<GuestSeen['agent'], GuestAgentState>;

const ACTION: Readonly<Partial<Record<GuestPowerAction, 'shutdown' | 'reboot'>>> = {
  [GuestPowerAction.SHUTDOWN]: 'shutdown',
  [GuestPowerAction.REBOOT]: 'reboot',
};

const refOf = (q: { readonly uuid: string; readonly vmId: string }): DomainRef =>
  checkDomainRef({ uuid: q.uuid, vmId: q.vmId });

export function guestService(
  guard: Guard,
  operations: Operations,
  verbs: GuestVerbs,
  runs: GuestRun,
): GuestServiceServer {
  const change = <Q extends Pick<GuestRequest, 'fence'>, A>(name: string, handler: (q: Q) => Promise<A>) =>
    guard.change(name, (q: Q) => q.fence, handler);
  return {
    readGuest: change('ReadGuest', async (q: GuestRequest) => encodeGuest(q.uuid, await verbs.read(refOf(q)))),
    syncGuestTime: change('SyncGuestTime', async (q: GuestRequest) => ({
      clockOffsetMs: offsetToWire(await verbs.syncTime(refOf(q))),
    })),
    freezeGuest: change('FreezeGuest', async (q: FreezeGuestRequest) => {
      const { fileSystems, thawAtMs } = await verbs.freeze(refOf(q), toNumber('thaw_after_ms', q.thawAfterMs));
      return { fileSystems, thawAtMs: toWire(thawAtMs) };
    }),
    thawGuest: change('ThawGuest', async (q: GuestRequest) => ({ fileSystems: await verbs.thaw(refOf(q)) })),
    setGuestPassword: change('SetGuestPassword', async (q: SetGuestPasswordRequest) => {
      await verbs.setPassword(refOf(q), q.user, q.password);
      return {};
    }),
    askGuestPower: guard.operation('AskGuestPower', async (q) => {
      const action = ACTION[q.action];
      if (action === undefined) throw invalidArgument('a guest can be asked to shut down or to reboot');
      return encodeOperation(await operations.run(verbs.askPower, operationIdOf(q), { ...refOf(q), action }));
    }),
    runInGuest: guard.serverStream('RunInGuest', async (q: RunInGuestRequest, send, signal) => {
      await guard.fence.check(readFence(q.fence));
      const ref = refOf(q);
      await runs.run(ref, checkRun(decodeRun(q)), (news) => send(encodeNews(news)), signal);
    }),
  };
}

const decodeRun = (q: RunInGuestRequest): RunRequest => ({
  program: q.program,
  arguments: q.arguments,
  environment: q.environment,
  input: q.input,
  timeoutMs: toNumber('timeout_ms', q.timeoutMs),
});

function encodeNews(n: RunNews): RunInGuestResponse {
  switch (n.type) {
    case 'started':
      return { message: { $case: 'started', value: { pid: toWire(n.pid) } } };
    case 'output':
      return { message: { $case: 'output', value: Buffer.from(n.data) } };
    case 'errorOutput':
      return { message: { $case: 'errorOutput', value: Buffer.from(n.data) } };
    case 'end':
      return { message: { $case: 'end', value: { exitCode: n.exitCode, signal: n.signal, truncated: n.truncated } } };
  }
}

const offsetToWire = (ms: number | undefined): bigint | undefined =>
  ms === undefined || !Number.isSafeInteger(ms) ? undefined : BigInt(ms);

export const encodeGuest = (uuid: string, g: GuestSeen): GuestStatus => ({
  uuid,
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
  lastResetAtMs: toWire(g.lastResetAtMs),
  frozenAtMs: toWire(g.frozenAtMs),
  thawAtMs: toWire(g.thawAtMs),
  clockOffsetMs: offsetToWire(g.clockOffsetMs),
});
