/**
 * Changes of what a VM is: its definition as a whole, compared with what it has. What only Berth looks at (labels, run policy)
 * is changed at once; for the rest a job is started. Talks to no host.
 */
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { needsHardware } from '@berth/shared/hardware/domain.ts';
import type { VmDefinition } from '@berth/shared/hardware/definition.ts';
import { checkLabels } from '@berth/shared/labels/labels.ts';
import type { Labels } from '@berth/shared/labels/selector.ts';
import { whyNot } from '@berth/shared/model/actions.ts';
import type { JobId } from '@berth/shared/model/ids.ts';
import type { Image } from '@berth/shared/model/image.ts';
import type { Vm, VmSpec } from '@berth/shared/model/vm.ts';
import { Guests } from '../guests/guests.ts';
import type { Offered } from '../guests/families.ts';
import { needCapability } from '../hosts/capabilities.ts';
import { imageLocks } from '../jobs/images-needed.ts';
import { domainWanted } from '../jobs/wanted.ts';
import { noCapacity } from '../jobs/refused.ts';
import { whyNotChanged } from '../jobs/world.ts';
import { sameMachine, withOurs } from '../jobs/vm-live.ts';
import { vmUpdate } from '../jobs/vm-update.ts';
import type { Tx } from '../state/state.ts';
import { resolve } from './names.ts';
import { usableImage } from './usable-image.ts';
import { freePorts } from './vm-addresses.ts';
import { changesBetween, waiting, type VmChange } from './vm-changes.ts';
import { nameIn } from './vm-pools.ts';
import { definedSpec } from './vm-spec.ts';
import { insistDisksStay } from './volume-snapshots.ts';
import { viewVm, type VmView } from './vm-view.ts';
import type { VmDeps } from './vm-deps.ts';

export interface UpdateVm {
  readonly definition: VmDefinition;
  readonly labels: Labels;
  /** Of what it was made from; 0: whatever it is now. */
  readonly generation: number;
  readonly dryRun: boolean;
  /** Also out of a drive that the guest has locked. */
  readonly forceEject: boolean;
  /** What its guest shall have been told when it was made. */
  readonly sshKeys?: readonly string[] | undefined;
  readonly userData?: string | undefined;
}

export interface Updated {
  readonly view: VmView;
  readonly jobId: JobId | undefined;
  readonly changes: readonly (VmChange & { readonly atNextStart: boolean })[];
  /** What was asked for and changes nothing. */
  readonly notes: readonly string[];
}

export class VmUpdates {
  readonly #guests: Guests;

  constructor(private readonly deps: VmDeps) {
    this.#guests = deps.guests ?? new Guests();
  }

  guests(): readonly Offered[] {
    return this.#guests.list();
  }

  /** @param may throws unless the caller may make this of that. */
  async update(nameOrId: string, wanted: UpdateVm, user: string, may: May): Promise<Updated> {
    const { state } = this.deps;
    const plan = (): Planned => this.#plan(resolve('vm', state.tables.vms, nameOrId), wanted, may);
    if (wanted.dryRun) {
      const { vm, changes } = plan();
      await state.settled();
      return { view: this.#view(vm), jobId: undefined, changes, notes: untold(vm, wanted) };
    }
    const done = await state.update((tx) => {
      const planned = plan();
      return { ...planned, jobId: this.#begin(tx, planned, wanted.forceEject, user) };
    });
    const vm = state.tables.vms.get(done.vm.id) ?? done.vm;
    return { view: this.#view(vm), jobId: done.jobId, changes: done.changes, notes: untold(vm, wanted) };
  }

  #plan(vm: Vm, wanted: UpdateVm, may: May): Planned {
    const { tables } = this.deps.state;
    if (wanted.generation !== 0 && wanted.generation !== vm.generation)
      throw new ClusterError(
        'STALE_GENERATION',
        `vm ${vm.name} was changed by somebody else since you looked (generation ${wanted.generation}, now ${vm.generation}). ` +
          `Look again, and change what it is now: berth vm show ${vm.name} -o yaml`,
      );
    const spec = this.#spec(vm, wanted);
    may(spec, vm.spec);
    const nameOf = nameIn(tables);
    const changed = changesBetween(vm.spec, spec, nameOf);
    const view = this.#view(vm);
    const late = isOn(view) ? waiting(vm.live ?? vm.spec, spec, nameOf) : new Set<string>();
    const machine = !sameMachine(spec, vm.spec);
    if (machine) insistDisksStay(vm, spec);
    if (machine) this.#allow(view, { ...vm, spec });
    const changes = changed.map((c) => ({ ...c, atNextStart: late.has(c.field) }));
    return { vm, spec, machine, changes };
  }

  #spec(vm: Vm, { definition, labels }: UpdateVm): VmSpec {
    const { state, random, clock } = this.deps;
    const { tables } = state;
    const imageOf = (name: string): Image => usableImage(tables, name);
    const from = { tables, random, nowMs: clock.now(), guests: this.#guests, imageOf, own: vm.id };
    const { seedVolumeId, sshKeys, userData, firstBoot } = vm.spec;
    const defined = definedSpec(from, `vm ${vm.name}`, definition, vm.spec);
    const kept = { seedVolumeId, sshKeys, userData, ...(firstBoot !== undefined && { firstBoot }) };
    return { ...defined, ...kept, labels: checkLabels('a vm', labels) };
  }

  /** Whether the machine may be changed now, there, and to this. */
  #allow(view: VmView, after: Vm): void {
    const { name, hostId } = after;
    const why = whyNot('update', { name, state: view.state, host: view.hostName || undefined });
    if (why !== undefined) throw view.state === 'unknown' ? new ClusterError('HOST_UNREACHABLE', why) : badState(why);
    if (hostId === undefined) throw badState(`vm ${name} is on no host yet`);
    freePorts(this.deps.state.tables, view.vm, { ...after, hostId });
    const wanted = domainWanted(this.deps.state.tables, after);
    const { facts } = this.deps.hosts.status(hostId);
    if (needsHardware(wanted)) needCapability({ name: view.hostName }, facts, 'domain.hardware');
    const refused = whyNotChanged(this.deps.world, view.vm.spec, after, hostId);
    if (refused) throw noCapacity(after, [refused]);
  }

  #begin(tx: Tx, { vm, spec, machine, changes }: Planned, forceEject: boolean, user: string): JobId | undefined {
    if (changes.length === 0 && !machine) return undefined;
    const { before: _, ...rest } = vm;
    const after: Vm = { ...rest, spec, generation: vm.generation + 1 };
    if (!machine) {
      // a job that changes the machine just now goes on, and may yet have to go back
      tx.vms.put({ ...after, ...withOurs(vm.before, () => spec) });
      const message = `vm ${vm.name} changed: ${changes.map((c) => c.field).join(', ')}`;
      tx.event({
        type: 'vm.updated',
        severity: 'info',
        subjectKind: 'vm',
        subject: vm.name,
        message,
        jobId: undefined,
      });
      return undefined;
    }
    tx.vms.put({ ...after, before: { spec: vm.spec, ...(vm.live && { live: vm.live }) } });
    const locks = [`vm/${vm.id}:exclusive` as const, ...imageLocks(spec)];
    const params = { vmId: vm.id, ...(forceEject && { forceEject }) };
    return this.deps.jobs.start(tx, vmUpdate, params, { subject: vm.name, locks, user });
  }

  #view(vm: Vm): VmView {
    const { state, hosts, clock } = this.deps;
    return viewVm(vm, { tables: state.tables, hosts, nowMs: clock.now() });
  }
}

/** A guest reads its keys and its user-data once. */
function untold(
  { name, spec }: Vm,
  { sshKeys = [], userData }: Pick<UpdateVm, 'sshKeys' | 'userData'>,
): readonly string[] {
  const keys = sshKeys.map((k) => k.trim()).join('\n');
  const other = [
    ...(keys !== '' && keys !== spec.sshKeys.join('\n') ? ['sshKeys'] : []),
    ...(userData !== undefined && userData !== '' && userData !== spec.userData ? ['userData'] : []),
  ];
  return other.map(
    (field) =>
      `vm ${name}: ${field} is told to a guest once, when its VM is made, and was other then. Change it inside the guest`,
  );
}

/** Of a caller, what may become of what. */
export type May = (after: VmSpec, before: VmSpec) => void;

interface Planned {
  readonly vm: Vm;
  readonly spec: VmSpec;
  /** Its host has something to do. */
  readonly machine: boolean;
  readonly changes: Updated['changes'];
}

const isOn = ({ state }: VmView): boolean => ['running', 'paused', 'stopping', 'starting', 'saved'].includes(state);
