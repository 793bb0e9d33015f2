/**
 * Reviews after a restore: what hosts have and the inventory does not know, and the word of a person that ends a review. Until
 * then nothing is done unasked on that host (reconcilers.ts) and nothing new is placed there (scheduler/filters.ts).
 */
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { Review } from '@berth/shared/model/review.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { HostHas, Hosts } from '../hosts/hosts.ts';
import type { State, Tx } from '../state/state.ts';
import { differencesOf, domainOf, isOn, type Difference } from './differences.ts';
import { resolve } from './names.ts';

export interface HostReview {
  readonly host: Host;
  /** Undefined: it is not, or not any more, to be reviewed. */
  readonly review: Review | undefined;
  readonly reported: boolean;
  readonly differences: readonly Difference[];
}

export interface ReviewDeps {
  readonly state: State;
  readonly hosts: Pick<Hosts, 'has' | 'status'>;
  readonly clock: Pick<Clock, 'now'>;
}

/** Of one host in one answer. */
const MOST = 1_000;

export class Reviews {
  constructor(private readonly deps: ReviewDeps) {}

  /** @param names empty: all hosts. */
  async list(names: readonly string[]): Promise<readonly HostReview[]> {
    const { state } = this.deps;
    const { tables } = state;
    const hosts = names.length > 0 ? names.map((n) => resolve('host', tables.hosts, n)) : [...tables.hosts.values()];
    const reviews = hosts.map((host) => this.#view(host));
    await state.settled();
    return reviews.sort((a, b) => (a.host.name < b.host.name ? -1 : 1));
  }

  /** @returns in words what was taken over. BAD_STATE while its report is not whole. */
  accept(nameOrId: string, user: string): Promise<readonly string[]> {
    const { state } = this.deps;
    return state.update((tx) => {
      const host = resolve('host', state.tables.hosts, nameOrId);
      if (!tx.reviews.get(host.id)) return [];
      const has = this.#whole(host);
      const taken = [...tx.vms.byHost(host.id).flatMap((vm) => takePower(tx, vm, has)), ...takeImages(tx, host, has)];
      tx.reviews.delete(host.id);
      const message = `host ${host.name} was reviewed and accepted by ${user}`;
      tx.event({
        type: 'host.accepted',
        severity: 'info',
        subjectKind: 'host',
        subject: host.name,
        message,
        jobId: undefined,
      });
      return taken;
    });
  }

  #whole(host: Host): HostHas {
    const { state, reason } = this.deps.hosts.status(host.id);
    const has = this.deps.hosts.has(host.id);
    if (state !== 'up' && state !== 'maintenance')
      throw badState(
        `host ${host.name} is ${state}${reason ? ` (${reason})` : ''}: it can be accepted when it has reported what it has`,
      );
    const absent = ['domains', 'volumes', 'images'].filter((source) => !has?.complete.has(source));
    if (has === undefined || absent.length > 0)
      throw badState(
        `host ${host.name} does not know all of its ${absent.join(', ')} at the moment: it can be accepted when it does`,
      );
    return has;
  }

  #view(host: Host): HostReview {
    const { state, hosts, clock } = this.deps;
    const has = hosts.has(host.id);
    return {
      host,
      review: state.tables.reviews.get(host.id),
      reported: has?.complete.has('domains') ?? false,
      differences: has ? differencesOf({ host, has, tables: state.tables, nowMs: clock.now() }).slice(0, MOST) : [],
    };
  }
}

/** As it is today: what is off stays off, whatever its run policy, and what runs is meant to run. */
function takePower(tx: Tx, vm: Vm, has: HostHas): string[] {
  const d = domainOf(has, vm);
  if (d?.power === 'unknown' || vm.phase !== 'ready') return [];
  const on = d !== undefined && isOn(d);
  const claim = tx.claims.get(vm.id);
  if (claim && claim.powered !== on) tx.claims.put({ ...claim, powered: on });
  const wanted = on ? 'on' : 'off';
  if (vm.desiredPower === wanted) return [];
  tx.vms.put({ ...vm, desiredPower: wanted });
  return [`vm ${vm.name} is meant to be ${wanted}, as it is`];
}

function takeImages(tx: Tx, host: Host, has: HostHas): string[] {
  const taken: string[] = [];
  for (const copy of [...tx.imageCopies.byHost(host.id)]) {
    const image = tx.images.get(copy.imageId);
    if (!image?.digest || has.images.has(image.digest)) continue;
    tx.imageCopies.delete(`${copy.imageId}/${copy.hostId}`);
    taken.push(`image ${image.name} is not there any more`);
  }
  for (const [digest, { fileBytes }] of has.images)
    for (const image of tx.images.byDigest(digest)) {
      if (tx.imageCopies.get(`${image.id}/${host.id}`)) continue;
      tx.imageCopies.put({ imageId: image.id, hostId: host.id, fileBytes });
      taken.push(`image ${image.name} is there`);
    }
  return taken;
}
