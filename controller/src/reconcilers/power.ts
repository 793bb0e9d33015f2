/**
 * Lets intent follow what happened on a host: a guest that powers itself off, or an operator's `virsh shutdown`, means that
 * the VM shall be off; an operator's `virsh start`, that it shall be on. A crash changes nothing. Acts on changes only,
 * never on a state alone, because a report may be older than the last job.
 */
import type { Log } from '@berth/shared/log/log.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { PowerEdge } from '../hosts/connections.ts';
import type { State, Tx } from '../state/state.ts';

/** What libvirt says of a guest that shut down, by itself or asked to. */
const ON_PURPOSE = /^shutdown\b/;
const OFF: ReadonlySet<PowerEdge['after'] | undefined> = new Set(['stopped', 'crashed']);

export function followPower(state: State, log: Log, edge: PowerEdge): void {
  const change = wanted(state, edge);
  if (change === undefined) return;
  state
    .update((tx) => {
      const vm = tx.vms.get(edge.vmId);
      if (vm && wanted(state, edge) === change) apply(tx, vm, change);
    })
    .catch((e: unknown) => log.error({ err: e, vm: edge.vmId }, 'the power of a vm could not be noted'));
}

/** Undefined: leave the intent as it is. */
function wanted(state: State, edge: PowerEdge): Vm['desiredPower'] | undefined {
  const { vms, jobs } = state.tables;
  const vm = vms.get(edge.vmId);
  if (vm === undefined || vm.phase !== 'ready' || vm.hostId !== edge.hostId) return undefined;
  if (jobs.holders(`vm/${vm.id}`).length > 0) return undefined;
  if (edge.after === 'stopped' && ON_PURPOSE.test(edge.reason))
    return vm.desiredPower === 'on' && vm.spec.runPolicy !== 'always' ? 'off' : undefined;
  if (edge.after === 'running' && OFF.has(edge.before)) return vm.desiredPower === 'off' ? 'on' : undefined;
  return undefined;
}

function apply(tx: Tx, vm: Vm, desiredPower: Vm['desiredPower']): void {
  tx.vms.put({ ...vm, desiredPower });
  const claim = tx.claims.get(vm.id);
  if (claim) tx.claims.put({ ...claim, powered: desiredPower === 'on' });
  const off = desiredPower === 'off';
  tx.event({
    type: off ? 'vm.stopped' : 'vm.started',
    severity: 'info',
    subjectKind: 'vm',
    subject: vm.name,
    message: off
      ? `vm ${vm.name} was shut down from inside, or on its host`
      : `vm ${vm.name} was started on its host, not through Berth`,
    jobId: undefined,
  });
}
