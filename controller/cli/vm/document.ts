/** A VM as a document that people keep and give back: kind, name, labels and spec are what it shall be, status is what it is. */
import type { Vm } from '@berth/proto/v1/vm.ts';
import { definitionFromWire } from '@berth/shared/hardware/definition-wire.ts';
import { writeForm } from '@berth/shared/hardware/form.ts';
import { said } from '@berth/shared/hardware/definition.ts';
import type { VmView } from './view.ts';
import type { Form } from './definition-flags.ts';

type Definition = Pick<Vm, 'name' | 'spec'>;

/** Of what the controller answered; `status` is ignored when it comes back. */
export function vmDocument(vm: VmView): Form {
  return { ...vmIntent(vm), status: status(vm) };
}

/** Without what it is now. */
function vmIntent(vm: Definition): Form {
  const labels = vm.spec?.labels ?? {};
  return { kind: 'vm', name: vm.name, ...(Object.keys(labels).length > 0 && { labels }), spec: specForm(vm) };
}

/** Empty lists are left out, but for those whose absence would mean a default. */
export function specForm(vm: Definition): Form {
  if (vm.spec === undefined) return {};
  const { cdroms, ...definition } = definitionFromWire(`vm ${vm.name}`, vm.spec);
  const { disks, nics: all, ...rest } = definition;
  // what a network has for a bridge is its own affair
  const nics = all?.map(({ bridge, ...n }) => (n.network === undefined ? { ...n, ...said({ bridge }) } : n));
  return writeForm({ ...sizes(rest), disks, ...(cdroms?.length ? { cdroms } : {}), nics, ...rest }) as Form;
}

const sizes = ({
  runPolicy,
  osVariant,
  vcpus,
  maxVcpus,
  memoryBytes,
  maxMemoryBytes,
}: ReturnType<typeof definitionFromWire>) =>
  said({ runPolicy, osVariant, vcpus, maxVcpus, memoryBytes, maxMemoryBytes });

const status = (vm: VmView): Form =>
  said({
    ...{ id: vm.id, uuid: vm.uuid, state: vm.state },
    ...{ stateReason: vm.stateReason || undefined, host: vm.host || undefined, job: vm.jobId || undefined },
    generation: Number(vm.generation),
    createdAt: new Date(Number(vm.createdAtMs)).toISOString(),
    volumes: Object.fromEntries((vm.spec?.disks ?? []).map((d) => [d.target, d.volumeId])),
    pending:
      vm.pending.length === 0
        ? undefined
        : vm.pending.map(({ field, before, after }) => ({ field, now: before, next: after })),
  });
