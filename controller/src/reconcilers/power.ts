/**
 * Lets intent follow what happened on a host: a guest that powers itself off, or an operator's `virsh shutdown`, means that
 * the VM shall be off; an operator's `virsh start`, that it shall be on. A crash changes nothing. Acts on changes only,
 * never on a state alone, because a report may be older than the last job. What happens while a job works on the VM is
 * looked at when that has ended. A VM that comes and goes without end is looked at now and then: each change is an event, and
 * those of others must not be lost among them.
 */
import type { Log } from '@berth/shared/log/log.ts';
import type { VmId } from '@berth/shared/model/ids.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { PowerEdge } from '../hosts/reports.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { State, Tables, Tx } from '../state/state.ts';
import { Pace } from './pace.ts';

/** Changes of one VM that are followed at once, and then one in so long. */
const AT_ONCE = 20;
const EVERY_MS = 30_000;

/** What libvirt says of a guest that shut down, by itself or asked to, or that somebody saved (`virsh managedsave`). */
const ON_PURPOSE = /^(shutdown|saved)\b/;
const OFF: ReadonlySet<PowerEdge['after'] | undefined> = new Set(['stopped', 'crashed']);

export class PowerFollower {
  /** The last change of each VM that a job works on. */
  private readonly late = new Map<VmId, PowerEdge>();
  /** The last change of each VM that changes too often. */
  private readonly held = new Map<VmId, PowerEdge>();
  private readonly pace: Pace<VmId>;
  private hosts: Pick<Hosts, 'vm'> | undefined;

  constructor(
    private readonly state: State,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.pace = new Pace(clock, AT_ONCE, EVERY_MS);
  }

  see(edge: PowerEdge): void {
    if (isBusy(this.state.tables, edge.vmId)) return void this.late.set(edge.vmId, edge);
    this.late.delete(edge.vmId);
    const change = wanted(this.state.tables, edge);
    if (change === undefined && !isCrash(edge)) return;
    const waitMs = this.pace.take(edge.vmId);
    if (waitMs > 0) this.hold(edge, waitMs);
    else this.note(edge, change);
  }

  private hold(edge: PowerEdge, waitMs: number): void {
    if (!this.held.has(edge.vmId)) this.clock.after(waitMs, () => this.lookAgain(edge.vmId));
    this.held.set(edge.vmId, edge);
  }

  private lookAgain(vmId: VmId): void {
    const edge = this.held.get(vmId);
    this.held.delete(vmId);
    if (edge && this.hosts?.vm(vmId)?.power === edge.after) this.see(edge);
  }

  private note(edge: PowerEdge, change: Vm['desiredPower'] | undefined): void {
    this.state
      .update((tx) => {
        const vm = tx.vms.get(edge.vmId);
        if (vm === undefined || vm.hostId !== edge.hostId) return;
        if (isCrash(edge)) tellCrash(tx, vm);
        else if (change !== undefined && !isBusy(tx, vm.id) && wanted(tx, edge) === change) apply(tx, vm, change);
      })
      .catch((e: unknown) => this.log.error({ err: e, vm: edge.vmId }, 'the power of a vm could not be noted'));
  }

  /** Looks again when jobs end. @returns a function that ends it. */
  follow(hosts: Pick<Hosts, 'vm'>): () => void {
    this.hosts = hosts;
    return this.state.subscribe((change) => {
      if (this.late.size === 0 || !change.touched.has('jobs')) return;
      for (const edge of [...this.late.values()]) {
        if (isBusy(this.state.tables, edge.vmId)) continue;
        this.late.delete(edge.vmId);
        if (hosts.vm(edge.vmId)?.power === edge.after) this.see(edge);
      }
    });
  }
}

/** It ran, and its QEMU died under it. */
const isCrash = (edge: PowerEdge): boolean =>
  edge.after === 'crashed' && edge.before !== undefined && !OFF.has(edge.before);

function tellCrash(tx: Tx, vm: Vm): void {
  const message = `vm ${vm.name} crashed${vm.spec.runPolicy === 'manual' ? `. Start it again with: berth vm start ${vm.name}` : ''}`;
  tx.event({ type: 'vm.crashed', severity: 'alarm', subjectKind: 'vm', subject: vm.name, message, jobId: undefined });
}

const isBusy = (tables: Pick<Tables, 'jobs'>, vmId: VmId): boolean => tables.jobs.holders(`vm/${vmId}`).length > 0;

/** Undefined: leave the intent as it is. */
function wanted(tables: Pick<Tables, 'vms'>, edge: PowerEdge): Vm['desiredPower'] | undefined {
  const vm = tables.vms.get(edge.vmId);
  if (vm === undefined || vm.phase !== 'ready' || vm.hostId !== edge.hostId) return undefined;
  if (edge.after === 'stopped' && ON_PURPOSE.test(edge.reason))
    return vm.desiredPower === 'on' && vm.spec.runPolicy !== 'always' ? 'off' : undefined;
  if (edge.after === 'running' && OFF.has(edge.before)) return vm.desiredPower === 'off' ? 'on' : undefined;
  return undefined;
}

function apply(tx: Tx, vm: Vm, desiredPower: Vm['desiredPower']): void {
  tx.vms.put({ ...vm, desiredPower });
  const claim = tx.claims.get(vm.id);
  if (claim) tx.claims.put({ ...claim, powered: desiredPower === 'on' });
  const off = desiredPower === 'off';
  tx.event({
    type: off ? 'vm.stopped' : 'vm.started',
    severity: 'info',
    subjectKind: 'vm',
    subject: vm.name,
    message: off
      ? `vm ${vm.name} was shut down from inside, or on its host`
      : `vm ${vm.name} was started on its host, not through Berth`,
    jobId: undefined,
  });
}
