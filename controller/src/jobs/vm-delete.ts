/**
 * Job vm.delete: domain, disks, seed, claim and row go. With `force` a running guest loses its power first, and a VM on a host
 * that does not answer is forgotten: what is left there becomes the host's cleanup debts, paid before it counts as up again.
 */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { CleanupDebt } from '@berth/shared/model/access.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { AgentClient } from '../hosts/agent-client.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait, type RemoteContext } from './engine/define.ts';
import { domainRef, getVm } from './making.ts';
import { domainWanted } from './wanted.ts';
import { insist, settle } from './operate.ts';
import { hostOfVm, type VmParams } from './vm-start.ts';

export interface DeleteParams extends VmParams {
  readonly force: boolean;
}

interface Begun {
  readonly intent: { readonly hostId: HostId };
}

type Remote = RemoteContext<DeleteParams, Begun, JobDeps>;
/** `left`: the host did not answer, so it is to be removed when it comes back. */
type Removed = { readonly left: boolean };

const DONE: Removed = { left: false };
const LEFT: Removed = { left: true };

/** With `force` a host that is known to be away is not waited for. One lost call does not make it so. */
async function removing(c: Remote, ask: (agent: AgentClient) => Promise<unknown>): Promise<Removed | Wait> {
  try {
    const op = await ask(c.deps.hosts.agent(c.outs.intent.hostId));
    return Wait.is(op) ? op : DONE;
  } catch (e) {
    const away = !c.deps.hosts.view(c.outs.intent.hostId).reachable;
    if (c.params.force && away && isClusterError(e, 'HOST_UNREACHABLE')) return LEFT;
    throw e;
  }
}

const volumesOf = (vm: Vm): readonly string[] => [
  ...vm.spec.disks.map((d) => d.volumeId),
  ...(vm.spec.seedVolumeId === undefined ? [] : [vm.spec.seedVolumeId]),
];

function debtsOf(vm: Vm, hostId: HostId): readonly CleanupDebt[] {
  const why = `vm ${vm.name} was deleted while the host did not answer`;
  const debt = (kind: CleanupDebt['kind'], target: string): CleanupDebt => ({
    id: `${hostId}/${kind}/${target}`,
    hostId,
    kind,
    target,
    vmId: vm.id,
    why,
  });
  return [debt('domain', vm.uuid), ...volumesOf(vm).map((id) => debt('volume', id))];
}

export const vmDelete = defineJob<DeleteParams, JobDeps>('vm.delete', 1)
  .local('intent', {
    run({ tx, tables, params }) {
      const vm = getVm(tables, params.vmId);
      tx.vms.put({ ...vm, phase: 'deleting' });
      return { hostId: hostOfVm(vm) };
    },
    undo({ tx, tables, params }) {
      tx.vms.put({ ...getVm(tables, params.vmId), phase: 'ready' });
    },
  })
  // Power that was pulled is not given back by an undo: a guest is started by people, not by clean-up.
  .remote('off', {
    host: (c) => c.outs.intent.hostId,
    async run(c) {
      if (!c.params.force) return DONE;
      const ref = domainRef(getVm(c.tables, c.params.vmId));
      return removing(c, (a) => settle(c, a.forceOffDomain(c.opId, ref), 'pulling the plug'));
    },
  })
  .remote('domain', {
    host: (c) => c.outs.intent.hostId,
    async run(c) {
      const ref = domainRef(getVm(c.tables, c.params.vmId));
      return removing(c, (a) => settle(c, a.removeDomain(c.opId, ref), 'undefining'));
    },
    async undo(c) {
      const wanted = domainWanted(c.tables, getVm(c.tables, c.params.vmId));
      const agent = c.deps.hosts.agent(c.outs.intent.hostId);
      const op = await insist(c, c.undoOpId, (id) => agent.ensureDomain(id, wanted), 'defining it again');
      return Wait.is(op) ? op : undefined;
    },
    // The VM stays; that its host lost the domain is seen as `missing` when it is back.
    debts: () => [],
  })
  .pointOfNoReturn()
  .remote('volumes', {
    host: (c) => c.outs.intent.hostId,
    operations: (c) => volumesOf(getVm(c.tables, c.params.vmId)).map((id) => `${c.opId}.${id}`),
    async run(c) {
      if (c.outs.domain.left) return LEFT;
      for (const id of volumesOf(getVm(c.tables, c.params.vmId))) {
        const ask = (opId: string, a: AgentClient) => a.removeVolume(opId, id);
        const one = await removing(c, (a) => insist(c, `${c.opId}.${id}`, (opId) => ask(opId, a), 'removing disks'));
        if (Wait.is(one) || one.left) return one;
      }
      return DONE;
    },
  })
  .local('forget', {
    run({ tx, tables, params, outs, jobId }) {
      const vm = getVm(tables, params.vmId);
      const host = tables.hosts.get(outs.intent.hostId)?.name ?? outs.intent.hostId;
      if (outs.volumes.left) for (const debt of debtsOf(vm, outs.intent.hostId)) tx.debts.put(debt);
      tx.claims.delete(vm.id);
      tx.vms.delete(vm.id);
      const message = outs.volumes.left
        ? `vm ${vm.name} forgotten; it is removed from ${host} when ${host} comes back`
        : `vm ${vm.name} deleted from ${host}`;
      tx.event({ type: 'vm.deleted', severity: 'info', subjectKind: 'vm', subject: vm.name, message, jobId });
      return null;
    },
  })
  .build();
