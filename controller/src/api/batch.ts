/** BatchService: many VMs of one request. */
import type { BatchConflict, BatchRow as Row, BatchServiceService, CloneVmsRequest } from '@berth/proto/v1/batch.ts';
import { CloneVmRequest } from '@berth/proto/v1/vm.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Batches } from '../app/batches.ts';
import type { BatchRow, CloneMany, Conflict } from '../app/batch-request.ts';
import type { Handlers } from './call.ts';
import { fromWire } from './numbers.ts';
import type { Asker, Scope } from './scope.ts';
import { imagesIn, toClone } from './vm.ts';

export const batchHandlers = (batches: Batches, scope: Scope): Handlers<BatchServiceService> => ({
  cloneVms: async (r, call) => {
    scope.insistImages(call, [r.all?.image ?? '', ...imagesIn(r.all?.spec)]);
    const request = toMany(r, call);
    const {
      jobId = '',
      vms,
      conflicts,
      notes,
    } = await batches.clone(request, call.user, {
      vm: (vm) => scope.seesVm(call, vm),
      host: (host) => scope.seesHost(call, host),
    });
    return { jobId, vms: [...vms], conflicts: conflicts.map(toConflict), notes: [...notes] };
  },
});

function toMany(r: CloneVmsRequest, call: Asker): CloneMany {
  if (r.all === undefined) throw invalidArgument('what shall they be made from? Say the image in `all`');
  const { dryRun, atomic, addressRange, firstVncPort, vm, snapshot } = r;
  const all = { ...toClone({ ...CloneVmRequest.create(), ...r.all, name: '', mac: '', address: '' }, call) };
  return {
    all,
    rows: r.rows.map(toRow),
    dryRun,
    atomic,
    addressRange,
    firstVncPort,
    ...(vm !== '' && { of: { vm, snapshot } }),
  };
}

const toRow = (r: Row): BatchRow => ({ ...r, memoryBytes: fromWire('memory_bytes', r.memoryBytes) });

const toConflict = ({ row, line, name, message, reason }: Conflict): BatchConflict => ({
  ...{ row, line, name, message, reason },
});
