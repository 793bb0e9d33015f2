/** What people see of a VM. */
import { isId, timeOfId } from '@berth/shared/model/ids.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import { Vm, VmState, type FoundVm } from '@berth/proto/v1/vm.ts';
import { percent, vmStateWord } from '../core/words.ts';
import { addressOf } from './address.ts';
import { localWord } from './filling.ts';
import type { Column } from '../output/table.ts';

export interface VmView extends Omit<Vm, 'state'> {
  readonly state: string;
}
export const vmView = (vm: Vm): VmView => ({ ...vm, state: vmStateWord(vm.state) });

/** A VM that a host has and the inventory does not know, in the list of those that it does. */
export const foundView = (f: FoundVm): VmView => {
  const spec = { vcpus: f.vcpus, memoryBytes: f.memoryBytes, disks: [], nics: [], labels: {}, runPolicy: '' };
  const stateReason = `${vmStateWord(f.state)}; not in the inventory${f.detail ? `: ${f.detail}` : ''}`;
  return {
    ...Vm.fromPartial({ ...f, spec, stateReason, createdAtMs: BigInt(isId('vm', f.id) ? timeOfId(f.id) : 0) }),
    state: 'found',
  };
};

export function foundNote(found: readonly FoundVm[]): string {
  const clear = found.filter((f) => f.detail === '').map((f) => f.name);
  const what = found.length === 1 ? '1 VM is' : `${found.length} VMs are`;
  const advice =
    clear.length > 0 ? `berth vm adopt ${clear.length > 3 ? '--all' : clear.join(' ')}` : 'berth host review';
  return `${what} on hosts and not in the inventory: ${advice}`;
}

const runs = (vm: VmView) => vm.state === vmStateWord(VmState.RUNNING);

export const vmColumns = (nowMs: number): Column<VmView>[] => [
  { title: 'NAME', cell: (v) => v.name },
  { title: 'STATE', cell: (v) => v.state },
  { title: 'HOST', cell: (v) => v.host },
  { title: 'VCPU', cell: (v) => String(v.spec?.vcpus ?? '') },
  { title: 'MEMORY', cell: (v) => formatBytes(Number(v.spec?.memoryBytes ?? 0n)), right: true },
  { title: 'CPU', cell: (v) => (runs(v) ? percent(v.cpuUsed) : ''), right: true, spare: 1 },
  { title: 'ADDRESS', cell: (v) => addressOf(v) ?? '' },
  { title: 'AGE', cell: (v) => formatAge(nowMs - Number(v.createdAtMs)), spare: 2 },
  { title: 'IMAGE', cell: (v) => v.spec?.disks[0]?.image ?? '', wide: true },
  { title: 'LOCAL', cell: localWord, right: true, wide: true },
  { title: 'DISK', cell: (v) => formatBytes(Number(v.spec?.disks[0]?.sizeBytes ?? 0n)), right: true, wide: true },
  { title: 'MAC', cell: (v) => v.spec?.nics[0]?.mac ?? '', wide: true },
  { title: 'UUID', cell: (v) => v.uuid, wide: true },
];
