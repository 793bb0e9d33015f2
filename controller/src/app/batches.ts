/**
 * Many VMs of one request: checked as a whole, then made by one job. The check is the making itself: rows, claims and job are
 * written in one update, which is taken back when anything stands in the way, or when only a look was wanted. So nothing comes
 * between the two, and what a dry run tells is what would be done.
 */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { HostId, JobId } from '@berth/shared/model/ids.ts';
import type { Image } from '@berth/shared/model/image.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import { randomOf } from '@berth/shared/runtime/random.ts';
import { imageLocks } from '../jobs/images-needed.ts';
import { wishOf } from '../jobs/making.ts';
import { hostWords } from '../jobs/refused.ts';
import type { CloneParams } from '../jobs/vm-clone.ts';
import { vmBatch } from '../jobs/vm-batch.ts';
import { claimOf, imagesOnce, type ImageOf } from '../jobs/world.ts';
import { planOrder } from '../scheduler/order.ts';
import type { PlacementRequest, Refusal } from '../scheduler/world.ts';
import type { Tx } from '../state/state.ts';
import { portsOf } from '../state/tables.ts';
import { giveAddresses, type AddressesGiven } from './batch-addresses.ts';
import { Conflicts } from './batch-conflicts.ts';
import { MOST_ROWS, requestOfRow, type BatchAnswer, type BatchVm, type CloneMany } from './batch-request.ts';
import { addWordFaults } from './batch-words.ts';
import { findThere } from './batch-there.ts';
import type { Captures } from './captures.ts';
import { resolve } from './names.ts';
import type { VmDeps } from './vm-deps.ts';
import { cloneParams, type VmMaking } from './vm-making.ts';

interface Planned {
  readonly at: number;
  readonly vm: Vm;
  readonly clone: CloneParams;
  readonly wish: PlacementRequest;
}

/** Carries the answer out of an update that leaves nothing behind. */
class OnlyLooked extends Error {
  constructor(readonly answer: BatchAnswer) {
    super('nothing is to be written');
  }
}

/** What the caller may know of. */
export interface Sees {
  vm(vm: Vm): boolean;
  host(host: Host): boolean;
}

export class Batches {
  constructor(private readonly deps: VmDeps & { readonly making: VmMaking; readonly captures: Captures }) {}

  /**
   * @throws INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, RESOURCE_BUSY, NO_CAPACITY: the worst of what stands in the way, a line for
   *   each of the first.
   */
  async clone(request: CloneMany, user: string, sees: Sees): Promise<BatchAnswer> {
    const { state, making } = this.deps;
    const { rows } = request;
    if (rows.length === 0) throw invalidArgument('no VM is named: give at least one row');
    if (rows.length > MOST_ROWS)
      throw invalidArgument(`${rows.length} VMs are too many for one request: at most ${MOST_ROWS}. Divide them`);
    try {
      return await state.update((tx) => {
        const asked = this.#ofImage(tx, request);
        const image = making.bootable({ image: asked.all.image, name: '' });
        const answer = this.#write(tx, asked, image, { user, sees });
        if (isLook(request) || answer.conflicts.length > 0) throw new OnlyLooked(answer);
        return answer;
      });
    } catch (e) {
      if (!(e instanceof OnlyLooked)) throw e;
      await state.settled();
      return e.answer;
    }
  }

  /** Of a VM: images in its place, which go with all else that is written in this look. */
  #ofImage(tx: Tx, request: CloneMany): CloneMany {
    if (request.of === undefined) return request;
    const image = this.deps.captures.standIn(tx, request.of);
    return { ...request, all: { ...request.all, image: image.id } };
  }

  #write(tx: Tx, request: CloneMany, image: Image, by: { readonly user: string; readonly sees: Sees }): BatchAnswer {
    const { tables } = this.deps.state;
    const conflicts = new Conflicts(request.rows);
    addWordFaults(tables, request, conflicts);
    conflicts.addTwins(request);
    const there = findThere(tables, request, image, conflicts);
    const nameOf = (vm: Vm): string => (by.sees.vm(vm) ? `vm ${vm.name}` : 'a VM that you may not see');
    const given = giveAddresses({ tables, request, conflicts, there, nameOf });
    const planned = this.#plan(tx, { request, conflicts, there, given, imageOf: imagesOnce(tables) });
    this.#place(tx, planned, conflicts, by.sees);
    const begins = planned.length > 0 && conflicts.size === 0 && !isLook(request);
    const jobId = begins ? this.#begin(tx, request, planned, by.user) : undefined;
    const vms = request.rows.map((row, at): BatchVm => {
      const own = planned.find((p) => p.at === at);
      const vm = own ? (tables.vms.get(own.vm.id) ?? own.vm) : there.get(at);
      return { ...this.#view(vm), name: row.name, thereAlready: there.has(at) };
    });
    if (!request.dryRun) conflicts.refuse();
    return { jobId, vms, conflicts: conflicts.list(), notes: given.notes };
  }

  #view(vm: Vm | undefined): Pick<BatchVm, 'host' | 'address' | 'mac' | 'vncPort'> {
    const nic = vm?.spec.nics[0];
    const host = vm?.hostId && this.deps.state.tables.hosts.get(vm.hostId)?.name;
    const [vncPort = 0] = vm ? portsOf(vm.spec) : [];
    return { host: host ?? '', address: nic?.address ?? '', mac: nic?.mac ?? '', vncPort };
  }

  /** Puts the rows of the VMs, so that each that follows is checked against those before it. */
  #plan(tx: Tx, { request, conflicts, there, given, imageOf }: Looked): readonly Planned[] {
    const { rows } = request;
    const planned: Planned[] = [];
    // given MAC addresses first: chosen ones go around them
    const order = [...rows.keys()].sort((a, b) => Number(rows[a]?.mac === '') - Number(rows[b]?.mac === '') || a - b);
    for (const at of order) {
      const row = rows[at];
      if (row === undefined || there.has(at) || conflicts.has(at)) continue;
      const one = conflicts.of(at, () => {
        const asked = requestOfRow(request, row, at, row.address || (given.addresses.get(at) ?? ''));
        const hostId = asked.host === '' ? null : this.#host(asked.host);
        const hosts = row.hostSelector;
        // the same row gets the same MAC address again, should it have to be made again
        const vm = this.deps.making.planned(asked, asked.image, randomOf(row.name));
        const clone = cloneParams(vm, asked, hostId);
        return clone && { at, vm, clone: hosts === '' ? clone : { ...clone, hosts } };
      });
      if (one === undefined) continue;
      if (conflicts.of(at, () => (tx.vms.put(one.vm), true)) === undefined) continue;
      planned.push({ ...one, wish: wishOf(one.vm, this.deps.state.tables, one.clone, imageOf) });
    }
    return planned.sort((a, b) => a.at - b.at);
  }

  #host(nameOrId: string): HostId {
    return resolve('host', this.deps.state.tables.hosts, nameOrId).id;
  }

  /** All together: each sees what those before it have taken. */
  #place(tx: Tx, planned: readonly Planned[], conflicts: Conflicts, sees: Sees): void {
    const { world, state } = this.deps;
    const now = world.now();
    const refused = new Map<string, string>();
    for (const i of planOrder(planned.map((p) => p.wish))) {
      const p = planned[i];
      if (p === undefined) continue;
      const wish = p.wish.ports === undefined ? p.wish : wishOf(p.vm, state.tables, p.clone, () => p.wish.image);
      const kind = JSON.stringify([
        p.clone.hostId,
        p.clone.hosts,
        wish.memoryBytes,
        wish.vcpus,
        wish.diskBytes,
        wish.ports?.map((x) => x.port),
      ]);
      // nothing is given back meanwhile, so what did not fit once will not fit again
      const known = refused.get(kind);
      const answer = known === undefined ? world.place(wish, now) : undefined;
      if (answer && 'hostId' in answer) {
        tx.vms.put({ ...p.vm, hostId: answer.hostId });
        tx.claims.put(claimOf(p.vm, answer.hostId, p.clone.start === true));
        continue;
      }
      const why = known ?? this.#noRoom(answer?.refusals ?? [], p.clone, sees);
      refused.set(kind, why);
      conflicts.add(p.at, why, 'NO_CAPACITY');
    }
  }

  #noRoom(refusals: readonly Refusal[], { hosts }: CloneParams, sees: Sees): string {
    if (refusals.length === 0)
      return hosts === undefined
        ? 'the cluster has no hosts. Add one with: berth host add NAME ADDRESS'
        : `no host has labels like ${hosts}`;
    const seen = refusals.filter((r) => {
      const host = this.deps.state.tables.hosts.get(r.hostId);
      return host && sees.host(host);
    });
    const hidden = refusals.length - seen.length;
    const words = [
      ...(seen.length > 0 ? [hostWords(seen)] : []),
      ...(hidden > 0 ? [`${hidden} that you may not see`] : []),
    ];
    return `no host has room: ${words.join('; ')}`;
  }

  #begin(tx: Tx, request: CloneMany, planned: readonly Planned[], user: string): JobId {
    const { tables } = this.deps.state;
    const rows = planned.map(({ vm, clone }) => ({ name: vm.name, clone }));
    const locks = [...new Set(planned.flatMap(({ vm }) => imageLocks(vm.spec)))];
    const subject = subjectOf(rows.map((r) => r.name));
    const options = { subject, locks, user, labels: request.all.labels };
    const jobId = this.deps.jobs.start(tx, vmBatch, { rows, atomic: request.atomic }, options);
    for (const { vm } of planned) {
      const row = tables.vms.get(vm.id);
      if (row) tx.vms.put({ ...row, batchId: jobId });
    }
    return jobId;
  }
}

interface Looked {
  readonly request: CloneMany;
  readonly conflicts: Conflicts;
  readonly there: ReadonlyMap<number, Vm>;
  readonly given: AddressesGiven;
  readonly imageOf: ImageOf;
}

/** Nothing is to be left of it. */
const isLook = ({ dryRun, of }: CloneMany): boolean => dryRun || of !== undefined;

/** `web-01 and 19 more` */
const subjectOf = (names: readonly string[]): string =>
  names.length === 1 ? (names[0] ?? '') : `${names[0]} and ${names.length - 1} more`;
