/**
 * Job vm.save: the guest's memory goes to a file on its host and its QEMU ends; a start goes on from there. The claim on CPU and
 * memory ends with it. No undo: what is saved stays so, and is shown so.
 */
import type { JobDeps } from './deps.ts';
import { defineJob, Wait } from './engine/define.ts';
import { domainRef, getVm } from './making.ts';
import { settle, untilSeen } from './operate.ts';
import { hostOfVm, type VmParams } from './vm-start.ts';

export const vmSave = defineJob<VmParams, JobDeps>('vm.save', 1)
  .local('intent', {
    run({ tx, tables, params }) {
      const vm = getVm(tables, params.vmId);
      tx.vms.put({ ...vm, desiredPower: 'off' });
      return { hostId: hostOfVm(vm), wasDesired: vm.desiredPower };
    },
    undo({ tx, tables, params }, out) {
      if (out) tx.vms.put({ ...getVm(tables, params.vmId), desiredPower: out.wasDesired });
    },
  })
  .remote('save', {
    host: (c) => c.outs.intent.hostId,
    async run(c) {
      const vm = getVm(c.tables, c.params.vmId);
      const agent = c.deps.hosts.agent(c.outs.intent.hostId);
      const op = await settle(c, agent.saveDomain(c.opId, domainRef(vm)), 'writing its memory to disk');
      return Wait.is(op) ? op : untilSeen(c, c.deps.hosts.vm(vm.id)?.power === 'stopped', 'writing its memory to disk');
    },
  })
  .pointOfNoReturn()
  .local('record', {
    run({ tx, tables, params, outs, jobId }) {
      const vm = getVm(tables, params.vmId);
      const held = tables.claims.get(vm.id);
      if (held) tx.claims.put({ ...held, powered: false });
      const message = `vm ${vm.name} saved on ${tables.hosts.get(outs.intent.hostId)?.name ?? outs.intent.hostId}`;
      tx.event({ type: 'vm.saved', severity: 'info', subjectKind: 'vm', subject: vm.name, message, jobId });
      return null;
    },
  })
  .build();
