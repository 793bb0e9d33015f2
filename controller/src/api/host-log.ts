/** HostLogService: what hosts write down, relayed line by line with back-pressure. Keeps nothing. */
import type { HostLogServiceService } from '@berth/proto/v1/hostlog.ts';
import { badState, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Host } from '@berth/shared/model/host.ts';
import { resolve } from '../app/names.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Tables } from '../state/state.ts';
import type { Call, Handlers } from './call.ts';
import { fromWire, toWire } from './numbers.ts';
import type { Scope } from './scope.ts';

const MOST_LINES = 100_000;

export const hostLogHandlers = (hosts: Hosts, tables: Tables, scope: Scope): Handlers<HostLogServiceService> => ({
  readHostLog: async function* (r, call) {
    const host = resolve('host', tables.hosts, r.host);
    const vm = vmOf(r, host, { tables, scope, call });
    const wanted = {
      source: r.source || (vm === undefined ? 'agent' : 'qemu'),
      uuid: vm?.uuid ?? '',
      name: vm?.name ?? '',
      sinceMs: fromWire('since_ms', r.sinceMs),
      tailLines: Math.min(r.tailLines, MOST_LINES),
      follow: r.follow,
    };
    if (wanted.source === 'qemu' && vm === undefined) throw invalidArgument('which VM? The log of QEMU is kept per VM');
    if (wanted.source !== 'qemu' && vm !== undefined)
      throw invalidArgument(`a VM has a log of its qemu, not of ${wanted.source.slice(0, 40)}`);
    needCapability(host, hosts.status(host.id).facts, 'host.log');
    for await (const { atMs, text } of hosts.agent(host.id).logs.read(wanted, call.signal))
      yield { atMs: toWire(atMs), text };
  },
});

/** The VM whose QEMU is meant; undefined when none is named. */
function vmOf(r: { readonly vm: string }, host: Host, at: { tables: Tables; scope: Scope; call: Call }) {
  if (r.vm === '') return undefined;
  const vm = resolve('vm', at.tables.vms, r.vm);
  if (!at.scope.seesVm(at.call, vm)) throw notFound(`vm ${r.vm.slice(0, 80)} does not exist. See: berth vm list`);
  if (vm.hostId === host.id) return vm;
  const there = vm.hostId && at.tables.hosts.get(vm.hostId)?.name;
  throw badState(`vm ${vm.name} lives on ${there ?? 'no host yet'}, not on ${host.name}`);
}
