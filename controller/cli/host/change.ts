/** berth host set, remove, drain, resume. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { text, yes, type Command } from '../core/command.ts';
import { note } from '../core/context.ts';
import { runMany } from '../job/many.ts';

const hosts = (what: string) => [
  { name: 'hosts', description: what, required: true, many: true, kind: 'host' as const },
];
const NOTHING = { jobId: '' };

export const hostSet: Command = {
  noun: 'host',
  verb: 'set',
  summary: 'say where the agent of a host is reached now',
  details: `Its VMs don't notice, and it is known by its certificate as before. Where Ansible made it: change the inventory and play again.
Example:
  berth host set h1 --address 10.0.0.21`,
  args: [{ name: 'host', description: 'which one', required: true, kind: 'host' }],
  flags: [{ spec: '--address <address>', description: 'host or host:port of its agent' }],
  run: (ctx, [host = ''], flags) => {
    const address = text(flags, 'address');
    if (address === undefined) throw invalidArgument('what is to be set? --address');
    return runMany(ctx, {
      ...{ noun: 'host', names: [host], wait: true },
      start: async (api) => (await api.call(api.hosts, (c) => c.updateHost, { host, address }), NOTHING),
      done: async () => 'changed',
    });
  },
};

export const hostRemove: Command = {
  noun: 'host',
  verb: 'remove',
  summary: 'remove hosts that have no VMs',
  args: hosts('hosts to remove'),
  flags: [{ spec: '--force', description: 'forget a dead host, with what is left on it' }],
  run: (ctx, names, flags) =>
    runMany(ctx, {
      noun: 'host',
      names,
      wait: true,
      start: async (api, host) => (
        await api.call(api.hosts, (c) => c.deleteHost, { host, force: yes(flags, 'force') }),
        NOTHING
      ),
      done: async () => 'removed',
    }),
};

export const hostDrain: Command = {
  noun: 'host',
  verb: 'drain',
  summary: 'take hosts out of placement; VMs there go on running',
  args: hosts('hosts to drain'),
  flags: [],
  run: (ctx, names) =>
    runMany(ctx, {
      noun: 'host',
      names,
      wait: true,
      start: async (api, host) => {
        const { runningVms } = await api.call(api.hosts, (c) => c.drainHost, { host });
        if (runningVms.length > 0) note(ctx, stillRunning(host, runningVms));
        return NOTHING;
      },
      done: async () => 'in maintenance',
    }),
};

export function stillRunning(host: string, vms: readonly string[]): string {
  const [run, them] = vms.length === 1 ? ['VM still runs', 'it'] : ['VMs still run', 'them'];
  const names = vms.slice(0, 10).join(', ') + (vms.length > 10 ? ', …' : '');
  return `${vms.length} ${run} on ${host}: ${names}. Stop ${them} before you service the host: VMs are not moved yet.`;
}

export const hostResume: Command = {
  noun: 'host',
  verb: 'resume',
  summary: 'put hosts back into placement',
  args: hosts('hosts to resume'),
  flags: [],
  run: (ctx, names) =>
    runMany(ctx, {
      noun: 'host',
      names,
      wait: true,
      start: async (api, host) => (await api.call(api.hosts, (c) => c.resumeHost, { host }), NOTHING),
      done: async () => 'in placement again',
    }),
};
