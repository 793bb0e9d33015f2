/** What people see of a host. */
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import type { Host } from '@berth/proto/v1/host.ts';
import { hostStateWord, percent } from '../core/words.ts';
import type { Column } from '../output/table.ts';

export interface HostView extends Omit<Host, 'state'> {
  readonly state: string;
}
export const hostView = (h: Host): HostView => ({ ...h, state: hostStateWord(h.state) });

const bytes = (n: bigint | undefined): string => (n === undefined || n === 0n ? '' : formatBytes(Number(n)));
const share = (part: bigint | undefined, whole: bigint | undefined): string =>
  whole ? `${bytes(part) || '0'} / ${bytes(whole)}` : '';

/** `2 of 3 run, 1 foreign`. */
const vms = (h: HostView): string =>
  [h.vmCount ? `${h.runningVmCount} of ${h.vmCount} run` : '0', h.foreignCount ? `${h.foreignCount} foreign` : '']
    .filter(Boolean)
    .join(', ');

/** What is promised to VMs, and what foreign domains that run take, of all. */
const memory = ({ capacity: c }: HostView): string =>
  share(c && c.memoryClaimedBytes + c.memoryForeignBytes, c?.memoryBytes);

export const hostColumns = (nowMs: number): Column<HostView>[] => [
  { title: 'NAME', cell: (h) => h.name },
  { title: 'STATE', cell: (h) => h.state },
  { title: 'ADDRESS', cell: (h) => h.address, spare: 2 },
  { title: 'VMS', cell: vms },
  {
    title: 'VCPU',
    cell: (h) => (h.capacity?.cpuThreads ? `${h.capacity.vcpusClaimed} / ${h.capacity.cpuThreads}` : ''),
    right: true,
  },
  { title: 'MEMORY', cell: memory, right: true },
  { title: 'DISK FREE', cell: (h) => bytes(h.capacity?.diskFreeBytes), right: true },
  {
    title: 'CPU',
    cell: (h) => (h.state === 'up' || h.state === 'maintenance' ? percent(h.capacity?.cpuUsed ?? 0) : ''),
    right: true,
  },
  { title: 'AGE', cell: (h) => formatAge(nowMs - Number(h.createdAtMs)), spare: 1 },
  {
    title: 'LABELS',
    cell: (h) =>
      Object.entries(h.labels)
        .map(([k, v]) => `${k}=${v}`)
        .join(','),
    wide: true,
  },
  { title: 'LIBVIRT', cell: (h) => h.facts?.libvirtVersion ?? '', wide: true },
  { title: 'QEMU', cell: (h) => h.facts?.qemuVersion ?? '', wide: true },
];
