/** Metrics of the installation as the controller knows it now: hosts, VMs, alarms. Reads tables and reports; changes nothing. */
import { label, labels, type Exposition } from '@berth/shared/metrics/exposition.ts';
import type { Host } from '@berth/shared/model/host.ts';
import { vmState, type Vm } from '@berth/shared/model/vm.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { jobOfVm } from '../app/vm-view.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Tables } from '../state/state.ts';
import type { ControllerFamilies } from './families.ts';

type Out = Exposition<ControllerFamilies>;

/** Beyond it hosts are counted by their state, and no more: 8 series each. */
export const MOST_HOSTS = 5_000;
/** VMs that are looked at before others get their turn: 300,000 must not hold the event loop up. */
const AT_ONCE = 2_000;

export interface Known {
  readonly tables: Tables;
  readonly hosts: Pick<Hosts, 'status' | 'vm' | 'view'>;
  readonly clock: Clock;
}

export async function writeInventory(to: Out, known: Known): Promise<void> {
  const { tables } = known;
  const hosts = new Tally();
  let left = MOST_HOSTS;
  for (const host of tables.hosts.values()) {
    hosts.add(label('state', known.hosts.status(host.id).state));
    if (left-- > 0) writeHost(to, host, known);
  }
  hosts.write(to, 'berth_hosts');
  const alarms = new Tally();
  for (const a of tables.alarms.values()) alarms.add(labels(['kind', 'severity'], [a.kind, a.severity]));
  alarms.write(to, 'berth_alarms');
  to.add('berth_images', tables.images.size);
  await writeVms(to, known);
}

class Tally {
  readonly #counts = new Map<string, number>();
  add(of: string): void {
    this.#counts.set(of, (this.#counts.get(of) ?? 0) + 1);
  }
  write(to: Out, name: keyof ControllerFamilies): void {
    for (const [of, n] of this.#counts) to.add(name, n, of);
  }
}

function writeHost(to: Out, host: Host, { tables, hosts }: Known): void {
  const of = label('host', host.name);
  const { state, lastSeenMs } = hosts.status(host.id);
  // one that was never there is not down
  if (state !== 'enrolling') to.add('berth_host_up', state === 'up' || state === 'maintenance' ? 1 : 0, of);
  to.add('berth_host_maintenance', host.maintenance ? 1 : 0, of);
  if (lastSeenMs !== undefined) to.add('berth_host_last_seen_timestamp_seconds', lastSeenMs / 1000, of);
  const inService = tables.certificates.byHost(host.id).find((c) => c.purpose === 'control' && c.state === 'active');
  if (inService) to.add('berth_host_certificate_expiry_timestamp_seconds', inService.notAfterMs / 1000, of);
  const { all, powered, poweredLarge, diskBytes } = tables.claims.sums(host.id);
  const large = [...poweredLarge.values()].reduce((sum, bytes) => sum + bytes, 0);
  to.add('berth_host_vms', all.guests, of);
  to.add('berth_host_vcpus_claimed', powered.vcpus, of);
  to.add('berth_host_memory_claimed_bytes', powered.memoryBytes + large, of);
  to.add('berth_host_disk_claimed_bytes', diskBytes, of);
}

async function writeVms(to: Out, { tables, hosts, clock }: Known): Promise<void> {
  const states = new Tally();
  const stateOf = (vm: Vm): string =>
    vmState(vm, hosts.vm(vm.id), jobOfVm(tables, vm.id), vm.hostId && hosts.view(vm.hostId));
  let looked = 0;
  for (const vm of [...tables.vms.values()]) {
    states.add(label('state', stateOf(vm)));
    if (++looked % AT_ONCE === 0) await clock.sleep(0);
  }
  states.write(to, 'berth_vms');
}
