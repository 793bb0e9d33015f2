/**
 * What `top` sorts by, for every VM that is on: a few numbers each, made anew for a host only when somebody asks and the host has
 * told something since. So watchers cost nothing while nobody watches, and little when many do.
 */
import type { HostId, VmId } from '@berth/shared/model/ids.ts';
import type { VmObserved } from '@berth/shared/model/vm.ts';
import type { VmStatistics } from '../hosts/figures.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Tables } from '../state/state.ts';
import type { Sortable } from './order.ts';

export interface VmRow extends Sortable {
  readonly vmId: VmId;
}

/** What the guest uses where it tells; otherwise what its QEMU takes. */
export const memoryUsedOf = (s: VmStatistics): number =>
  s.guestTotalBytes > 0 ? Math.max(0, s.guestTotalBytes - s.guestUsableBytes) : s.memoryUsedBytes;

const ON: ReadonlySet<string | undefined> = new Set<VmObserved['power']>([
  'running',
  'paused',
  'stopping',
  'suspended',
]);
export const isOn = (seen: VmObserved | undefined): boolean => ON.has(seen?.power);

export class VmRows {
  private readonly byHost = new Map<HostId, readonly VmRow[]>();
  private readonly stale = new Set<HostId>();
  private hostsVersion = -1;

  constructor(
    private readonly tables: Tables,
    private readonly hosts: Hosts,
  ) {}

  touch(hostId: HostId | undefined): void {
    if (hostId !== undefined) this.stale.add(hostId);
  }

  *all(only?: HostId): IterableIterator<VmRow> {
    this.refresh();
    if (only !== undefined) yield* this.byHost.get(only) ?? [];
    else for (const rows of this.byHost.values()) yield* rows;
  }

  private refresh(): void {
    const { hosts } = this.tables;
    if (hosts.version !== this.hostsVersion) {
      for (const id of this.byHost.keys()) if (hosts.get(id) === undefined) this.byHost.delete(id);
      for (const h of hosts.values()) if (!this.byHost.has(h.id)) this.stale.add(h.id);
      this.hostsVersion = hosts.version;
    }
    for (const id of this.stale) this.byHost.set(id, this.look(id));
    this.stale.clear();
  }

  private look(hostId: HostId): readonly VmRow[] {
    return this.tables.vms.byHost(hostId).flatMap((vm): VmRow | [] => {
      const s = isOn(this.hosts.vm(vm.id)) ? this.hosts.vmStatistics(vm.id) : undefined;
      if (s === undefined) return [];
      return {
        vmId: vm.id,
        name: vm.name,
        cpu: s.cpuUsed,
        memory: memoryUsedOf(s),
        cpus: vm.spec.vcpus,
        memoryOf: vm.spec.memoryBytes,
        diskRead: s.diskReadBytes,
        diskWrite: s.diskWriteBytes,
        netReceive: s.netReceiveBytes,
        netTransmit: s.netTransmitBytes,
      };
    });
  }
}
