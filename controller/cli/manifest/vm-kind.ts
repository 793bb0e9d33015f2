/** Documents of kind vm: compared by the controller, which knows what a definition comes to; what it makes of it is shown. */
import { CreateVmRequest, UpdateVmRequest, type Vm } from '@berth/proto/v1/vm.ts';
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { definitionToWire } from '@berth/shared/hardware/definition-wire.ts';
import { definitionSchema, type VmDefinition } from '@berth/shared/hardware/definition.ts';
import * as z from 'zod';
import type { Api } from '../core/api.ts';
import { specForm } from '../vm/document.ts';
import { definitionOf } from '../vm/definition-flags.ts';
import type { Kind, Plan } from './kind.ts';

const schema = z.strictObject({
  kind: z.literal('vm'),
  name: z.string().min(1, 'must not be empty'),
  labels: z.record(z.string(), z.string()).optional(),
  spec: definitionSchema.optional(),
  status: z.unknown().optional(),
});
export type VmDocument = z.output<typeof schema>;

export const vmKind: Kind = { schema, plan: planVm };

export async function planVm(api: Api, d: VmDocument): Promise<Plan> {
  const vm = await find(api, d.name);
  return vm ? planUpdate(api, d, vm) : planCreate(api, d, {});
}

export async function find(api: Api, name: string): Promise<Vm | undefined> {
  try {
    return await api.call(api.vms, (c) => c.getVm, { vm: name });
  } catch (e) {
    if (isClusterError(e, 'NOT_FOUND')) return undefined;
    throw e;
  }
}

export async function planUpdate(api: Api, d: VmDocument, vm: Vm): Promise<Plan> {
  const request = updateRequest(d, vm);
  const { changes, notes } = await api.call(api.vms, (c) => c.updateVm, { ...request, dryRun: true });
  return {
    ...{ noun: 'vm', name: d.name, what: changes.length === 0 ? 'nothing' : 'update', changes, notes },
    apply: async (to) => {
      const { jobId } = await to.call(to.vms, (c) => c.updateVm, request);
      return { jobId, said: 'changed' };
    },
  };
}

/** Disks and cards that a document says nothing about stay: a file that gives only sizes is no wish to have none. */
export function updateRequest(d: VmDocument, vm: Vm): UpdateVmRequest {
  const now = definitionOf(specForm(vm));
  const spec: VmDefinition = { ...d.spec, disks: d.spec?.disks ?? now.disks, nics: d.spec?.nics ?? now.nics };
  const labels = d.labels ?? vm.spec?.labels ?? {};
  return UpdateVmRequest.fromPartial({
    ...{ vm: vm.name, generation: vm.generation },
    spec: { ...definitionToWire(spec), labels },
    sshKeys: [...(d.spec?.sshKeys ?? [])],
    userData: d.spec?.userData,
  });
}

export interface Placing {
  readonly host?: string | undefined;
  readonly start?: boolean;
}

export async function planCreate(api: Api, d: VmDocument, placing: Placing): Promise<Plan> {
  const request = createRequest(d, placing);
  const { vm } = await api.call(api.vms, (c) => c.createVm, { ...request, dryRun: true });
  return {
    ...{ noun: 'vm', name: d.name, what: 'create', changes: [], where: vm?.host ?? '' },
    apply: async (to) => {
      const made = await to.call(to.vms, (c) => c.createVm, request);
      return { jobId: made.jobId, said: `created on ${made.vm?.host || vm?.host}` };
    },
  };
}

function createRequest(d: VmDocument, { host, start }: Placing): CreateVmRequest {
  const { spec = {} } = d;
  return CreateVmRequest.fromPartial({
    name: d.name,
    spec: definitionToWire(spec),
    labels: d.labels ?? {},
    noDisks: spec.disks?.length === 0,
    noNics: spec.nics?.length === 0,
    sshKeys: [...(spec.sshKeys ?? [])],
    userData: spec.userData ?? '',
    ...(spec.firstBoot !== undefined && { firstBoot: spec.firstBoot }),
    ...{ host: host ?? '', start: start === true },
  });
}
