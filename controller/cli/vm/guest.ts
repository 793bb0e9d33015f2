/** berth vm guest-info, sync-time, freeze, thaw: what goes through the guest agent, but for programs and passwords. */
import type { Guest } from '@berth/proto/v1/guest.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { formatDuration, parseDuration } from '@berth/shared/units/duration.ts';
import { OUTPUT, text, type Command } from '../core/command.ts';
import { fields, renderEach } from '../output/render.ts';
import { agentWord, guestFields } from './guest-view.ts';
import { manyVms } from './verb.ts';

/** A guest flushes what it has in memory before it freezes. */
export const GUEST_DEADLINE_MS = 150_000;

interface GuestView extends Omit<Guest, 'agent'> {
  readonly vm: string;
  readonly agent: string;
}

export const vmGuestInfo: Command = {
  noun: 'vm',
  verb: 'guest-info',
  summary: 'ask guests what they are: addresses, system, file systems, users, clock',
  details: `Asks the guest agent now; berth vm show tells what it said within the last minute. Nothing of it is proven: a guest may
say anything.`,
  args: [{ name: 'vms', description: 'VMs to ask', required: true, many: true, kind: 'vm' }],
  flags: [OUTPUT],
  async run(ctx, names, flags) {
    const api = await ctx.api();
    await renderEach<GuestView>(ctx, flags, {
      names,
      get: async (vm) => {
        const guest = await api.call(api.guests, (c) => c.readGuest, { vm }, GUEST_DEADLINE_MS);
        return { vm, ...guest, agent: agentWord(guest.agent) };
      },
      name: (g) => g.vm,
      lines: (g) =>
        fields([['vm', g.vm], ...guestFields({ ...g }, ctx.clock.now()), ['clock', clockWords(g.clockOffsetMs)]]),
    });
  },
};

/** Over the wire and through the guest's agent some time is lost; less than a second says nothing. */
const clockWords = (offsetMs: bigint | undefined): string => {
  if (offsetMs === undefined) return '';
  const off = Number(offsetMs);
  if (Math.abs(off) < 1_000) return 'as its host';
  return `${formatDuration(Math.abs(off))} ${off > 0 ? 'ahead of' : 'behind'} its host: berth vm sync-time`;
};

export const vmSyncTime = manyVms({
  verb: 'sync-time',
  summary: 'set the clocks of guests to the time of their hosts',
  plan: () => {
    const words = new Map<string, string>();
    return {
      start: async (api, vm) => {
        const { clockOffsetMs } = await api.call(api.guests, (c) => c.syncGuestTime, { vm }, GUEST_DEADLINE_MS);
        const off = Math.abs(Number(clockOffsetMs ?? 0n));
        words.set(
          vm,
          off < 1_000 ? 'has the time of its host' : `has the time of its host; it was ${formatDuration(off)} off`,
        );
        return { jobId: '' };
      },
      done: async (_api, vm) => words.get(vm) ?? '',
    };
  },
});

export const vmFreeze = manyVms({
  verb: 'freeze',
  summary: 'flush and freeze the file systems of guests, for a copy of their disks',
  details: `Programs in the guest that write wait until berth vm thaw. When nobody thaws it in time, its host does.`,
  flags: [{ spec: '--for <duration>', description: 'thawed by itself after so long (default 60s, at most 1h)' }],
  plan: (flags) => {
    const given = text(flags, 'for');
    const thawAfterMs = BigInt(parseDuration(given ?? '60s'));
    if (thawAfterMs < 1_000n) throw invalidArgument(`--for ${given} is too short: at least 1s`);
    const counts = new Map<string, number>();
    return {
      start: async (api, vm) => {
        const r = await api.call(api.guests, (c) => c.freezeGuest, { vm, thawAfterMs }, GUEST_DEADLINE_MS);
        counts.set(vm, r.fileSystems);
        return { jobId: '' };
      },
      done: async (_api, vm) => `frozen (${systems(counts.get(vm))}) for ${formatDuration(Number(thawAfterMs))}`,
    };
  },
});

export const vmThaw = manyVms({
  verb: 'thaw',
  summary: 'thaw the file systems of guests',
  plan: () => {
    const counts = new Map<string, number>();
    return {
      start: async (api, vm) => {
        counts.set(vm, (await api.call(api.guests, (c) => c.thawGuest, { vm }, GUEST_DEADLINE_MS)).fileSystems);
        return { jobId: '' };
      },
      done: async (_api, vm) => (counts.get(vm) === 0 ? 'was not frozen' : `thawed (${systems(counts.get(vm))})`),
    };
  },
});

const systems = (n = 0): string => (n === 1 ? '1 file system' : `${n} file systems`);
