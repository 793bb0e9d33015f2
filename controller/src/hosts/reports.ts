/**
 * What a change in a host's record means to the rest of the controller: operations noted, power changes told, and what the
 * host may not say complained of. The record itself is record.ts's.
 */
import type { HostId, VmId } from '@berth/shared/model/ids.ts';
import type { VmPower } from '@berth/shared/model/vm.ts';
import type { DomainRecord } from './decode.ts';
import type { HostLink } from './host-link.ts';
import type { HostsEvent } from './hosts.ts';
import type { Misreports } from './misreports.ts';
import type { OperationBook } from './operations.ts';
import type { Applied } from './record.ts';
import type { Teller } from './teller.ts';

/** A VM's power as its host reports it, when it changes. `before` is undefined on the first report. */
export interface PowerEdge {
  readonly vmId: VmId;
  readonly hostId: HostId;
  readonly before: VmPower | undefined;
  readonly after: VmPower;
  readonly reason: string;
}

interface ReportDeps {
  readonly operations: OperationBook;
  readonly misreports: Misreports;
  readonly teller: Teller;
  onPower(edge: PowerEdge): void;
  emit(e: HostsEvent): void;
}

export class Reports {
  constructor(private readonly deps: ReportDeps) {}

  applied(link: HostLink, what: Applied): void {
    const { operations, teller, emit } = this.deps;
    const hostId = link.host.id;
    emit({ type: 'status', hostId });
    if (what.counted) emit({ type: 'statistics', hostId });
    for (const view of what.operations) operations.note(hostId, view);
    for (const kind of what.overflow)
      teller.misreport(link.host.name, `reports more ${kind} than Berth keeps; the rest is ignored`);
    for (const uuid of what.guests ?? []) this.guestChanged(link, uuid);
    for (const { before, after } of what.domains) this.domainChanged(link, before, after);
  }

  private guestChanged(link: HostLink, uuid: string): void {
    const d = link.record.domains.get(uuid);
    if (d && d.vmId !== '' && this.deps.misreports.belongs(link.host.id, d))
      this.deps.emit({ type: 'vm', vmId: d.vmId as VmId });
  }

  private domainChanged(link: HostLink, before: DomainRecord | undefined, after: DomainRecord | undefined): void {
    const { misreports, teller, onPower, emit } = this.deps;
    const hostId = link.host.id;
    const d = after ?? before;
    if (d === undefined || d.vmId === '') return;
    const belongs = misreports.belongs(hostId, d);
    misreports.noteStray(hostId, d.uuid, after !== undefined && !belongs);
    if (!belongs) {
      const complaint = after && !before && misreports.complaint(hostId, link.connections, after);
      if (complaint) teller.misreport(link.host.name, complaint);
      return;
    }
    if (before?.power === after?.power) return;
    const vmId = d.vmId as VmId;
    if (after) onPower({ vmId, hostId, before: before?.power, after: after.power, reason: after.reason });
    emit({ type: 'vm', vmId });
  }
}
