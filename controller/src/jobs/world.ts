/** The scheduler's picture of the cluster, and a VM's request, from tables and reports. Decides nothing. */
import { needsHardware } from '@berth/shared/hardware/domain.ts';
import { ClaimSums, type Claim } from '@berth/shared/model/claim.ts';
import type { Host, HostFacts } from '@berth/shared/model/host.ts';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import type { Volume } from '@berth/shared/model/volume.ts';
import type { Vm, VmSpec } from '@berth/shared/model/vm.ts';
import type { ForeignDomain, Hosts } from '../hosts/hosts.ts';
import { withLargePages } from '../scheduler/capacity.ts';
import { place, refusals, type Placement } from '../scheduler/place.ts';
import { saltOf } from '../scheduler/score.ts';
import type { PlacementRequest, Policy, Refusal, World, WorldHost } from '../scheduler/world.ts';
import type { Tables } from '../state/state.ts';
import { portsOf } from '../state/tables.ts';
import { networksWanted, whyNoNetwork } from './world-networks.ts';
import { baselineOf, cpuNeeded } from './cpu-wanted.ts';
import { copiesOfDigest } from './image-digests.ts';
import { isOfBlocks, poolBytes, poolRequests, SharedPools, withLocalPool, worldPools } from './world-pools.ts';
import { domainWanted, imagesForClone, imagesOf } from './wanted.ts';

/** A seed is an ISO of a few small files. */
const SEED_BYTES = 1024 * 1024;
/** A label of a VM that begins so asks for the host's label of the rest of the name. */
const HOST_LABEL = 'host.';

/**
 * The picture that placements look at, kept between them: building it anew for thousands of hosts would cost far more than
 * choosing among them. Claims are always as they are now; a host's row and status are looked at again when they changed.
 */
export class WorldView {
  private readonly stale = new Set<HostId>();
  private at = new Map<HostId, number>();
  private all: WorldHost[] = [];
  private hostsVersion = -1;
  private readonly shared: SharedPools;

  constructor(
    private readonly tables: Tables,
    private readonly hosts: Hosts,
    private readonly policy: Policy,
    /** Told of each choice. */
    private readonly told: (choose: () => Placement) => Placement = (choose) => choose(),
  ) {
    this.shared = new SharedPools(tables, hosts);
    hosts.subscribe((e) => e.type === 'status' && this.stale.add(e.hostId));
  }

  /** Good until something changes: for one decision. */
  now(): World {
    const { hosts } = this.tables;
    const version = hosts.version + this.tables.reviews.version + this.tables.pools.version;
    if (version !== this.hostsVersion) this.look([...hosts.values()]);
    else for (const id of this.stale) this.lookAgain(hosts.get(id));
    this.hostsVersion = version;
    this.stale.clear();
    this.shared.forget();
    return { policy: withLocalPool(this.policy, this.tables), hosts: this.all };
  }

  private look(rows: readonly Host[]): void {
    this.all = rows.map((h) => worldHost(h, this.tables, this.hosts, this.shared));
    this.at = new Map(rows.map((h, i) => [h.id, i]));
  }

  private lookAgain(host: Host | undefined): void {
    const i = host && this.at.get(host.id);
    if (host && i !== undefined) this.all[i] = worldHost(host, this.tables, this.hosts, this.shared);
  }

  /** The best host for it, or why none will do. @param world as it was found before, for many choices in a row */
  place(request: PlacementRequest, world: World = this.now()): Placement {
    return this.told(() => place(world, request));
  }

  /** Why the VM does not fit on the host it lives on; undefined when it does. */
  whyNotThere(vm: Vm, hostId: HostId): Refusal | undefined {
    return refusals(this.now(), requestOf(vm, this.tables, hostId))[0];
  }
}

function worldHost(host: Host, tables: Tables, hosts: Hosts, shared: SharedPools): WorldHost {
  const status = hosts.status(host.id);
  return {
    id: host.id,
    name: host.name,
    state: status.state,
    stateReason: status.reason,
    maintenance: host.maintenance,
    libvirtAway: (status.state === 'up' || status.state === 'maintenance') && !status.complete.has('domains'),
    reviewed: tables.reviews.get(host.id) !== undefined,
    labels: host.labels,
    facts: status.facts && withLargePages(ableTo(status.facts), host.tuning),
    bridges: status.bridges,
    foreign: foreignSums(status.foreign),
    claims: tables.claims.sums(host.id),
    allocatedBytes: status.volumesAllocatedBytes ?? 0,
    diskFreeBytes: status.statistics?.diskFreeBytes ?? status.facts?.diskFreeBytes ?? 0,
    pools: worldPools(host.id, tables, hosts, shared),
    whyNoNetwork: (id) => whyNoNetwork(tables, host, status, id),
    salt: saltOf(host.id),
  };
}

/** Agents can change guests from outside where their host has the programs: its checks tell. */
export function ableTo(facts: HostFacts): HostFacts {
  if (facts.checks.every((c) => c.ok || c.name !== 'guest-customization')) return facts;
  return { ...facts, capabilities: facts.capabilities.filter((c) => c !== 'volume.customize') };
}

export const foreignSums = (foreign: readonly ForeignDomain[]): ClaimSums =>
  ClaimSums.of(
    foreign.map(({ vcpus, memoryBytes, power }) => {
      const powered = power !== 'stopped' && power !== 'crashed';
      return { vcpus, memoryBytes, diskBytes: 0, powered };
    }),
  );

export const claimOf = (vm: Vm, hostId: HostId, powered: boolean): Claim => ({
  vmId: vm.id,
  hostId,
  vcpus: vm.spec.vcpus,
  memoryBytes: vm.spec.memoryBytes,
  ...pagesOf(vm.spec),
  diskBytes: diskBytes(vm.spec),
  ...poolBytes(vm.spec),
  powered,
});

/** A VM that asks for large pages takes them, and no other memory. */
const pagesOf = ({ hardware }: VmSpec): { readonly pageBytes?: number } => {
  const pageBytes = hardware?.memoryBacking?.hugepageBytes;
  return pageBytes === undefined ? {} : { pageBytes };
};

const diskBytes = (spec: VmSpec): number =>
  spec.disks.reduce(
    (n, d) => n + (d.poolId === undefined ? d.sizeBytes : 0),
    spec.seedVolumeId === undefined ? 0 : SEED_BYTES,
  );

/**
 * @param only the one host that will do, when there is just one.
 * @param imageOf where images are; of many requests, one looks for all of them.
 */
export function requestOf(
  vm: Vm,
  tables: Tables,
  only: HostId | undefined,
  imageOf: ImageOf = (images) => imagesWanted(tables, images),
): PlacementRequest {
  return {
    vmId: vm.id,
    own: tables.claims.get(vm.id),
    vcpus: vm.spec.vcpus,
    memoryBytes: vm.spec.memoryBytes,
    ...pagesOf(vm.spec),
    diskBytes: diskBytes(vm.spec),
    pools: poolRequests(vm.spec, tables),
    image: imageOf(vm.phase === 'creating' ? imagesForClone(vm.spec) : imagesOf(vm.spec)),
    bridges: [...new Set(vm.spec.nics.flatMap((n) => (n.networkId === undefined ? n.bridge : [])))],
    ...networksWanted(vm.spec, tables),
    capabilities: [
      ...(needsHardware(domainWanted(tables, vm)) ? ['domain.hardware'] : []),
      ...(vm.phase === 'creating' && vm.spec.identity === 'offline' ? ['volume.customize'] : []),
      ...(vm.phase === 'creating' ? forCopies(vm.spec, tables) : []),
      ...(vm.spec.disks.some((d) => isOfBlocks(tables, d.poolId)) ? ['pool.block'] : []),
    ],
    cpu: cpuNeeded(vm.spec.hardware?.cpu, baselineOf(tables)),
    hostLabels: Object.entries(vm.spec.labels)
      .filter(([k]) => k.startsWith(HOST_LABEL))
      .map(([k, v]) => [k.slice(HOST_LABEL.length), v]),
    hostId: only,
    ...portsWanted(vm, tables),
  };
}

/** What a host must be able to do for full clones. */
function forCopies({ disks }: VmSpec, tables: Tables): readonly string[] {
  const copies = disks.filter((d) => d.copyOf !== undefined);
  const isInFiles = copies.some((d) => d.poolId !== undefined && !isOfBlocks(tables, d.poolId));
  return [...(copies.length > 0 ? ['clone.full'] : []), ...(isInFiles ? ['clone.full-pools'] : [])];
}

/** Of a volume that stands alone. @param only the one host that will do, when there is just one. */
export function volumeRequest(
  v: Pick<Volume, 'sizeBytes' | 'imageId' | 'poolId'>,
  tables: Tables,
  only: HostId | undefined,
): PlacementRequest {
  return {
    ...{ vmId: undefined, own: undefined, vcpus: 0, memoryBytes: 0, bridges: [] },
    diskBytes: v.poolId === undefined ? v.sizeBytes : 0,
    pools: poolRequests({ disks: [v] }, tables),
    image: imagesWanted(tables, v.imageId === undefined ? [] : [v.imageId]),
    ...{
      capabilities: v.poolId === undefined ? ['volume.data'] : ['volume.data', 'volume.move'],
      hostLabels: [],
      hostId: only,
    },
  };
}

function portsWanted(vm: Vm, { vms }: Tables): Pick<PlacementRequest, 'ports'> {
  const ports = portsOf(vm.spec);
  if (ports.length === 0) return {};
  const taken = (port: number) =>
    new Map(vms.byPort(port).flatMap((v) => (v.id === vm.id || v.hostId === undefined ? [] : [[v.hostId, v.name]])));
  return { ports: ports.map((port) => ({ port, taken: taken(port) })) };
}

export type ImageOf = (images: readonly ImageId[]) => PlacementRequest['image'];

/** For requests of one update: those that need the same images share what is found of them. */
export function imagesOnce(tables: Tables): ImageOf {
  const known = new Map<string, PlacementRequest['image']>();
  return (images) => {
    const key = images.join(' ');
    if (!known.has(key)) known.set(key, imagesWanted(tables, images));
    return known.get(key);
  };
}

/** A host that has the same content under another name has it too. Of several images, the hosts that have all of them. */
function imagesWanted(tables: Tables, images: readonly ImageId[]): PlacementRequest['image'] {
  const wanted = images.flatMap((id) => {
    const digest = tables.images.get(id)?.digest;
    return digest === undefined ? [] : [copiesOfDigest(tables, digest)];
  });
  const [first, ...more] = wanted.map((copies) => new Set(copies.map((c) => c.hostId)));
  if (first === undefined) return undefined;
  const fileBytes = wanted.reduce((sum, copies) => sum + Math.max(0, ...copies.map((c) => c.fileBytes)), 0);
  return {
    hosts: more.length === 0 ? first : new Set([...first].filter((h) => more.every((m) => m.has(h)))),
    fileBytes,
  };
}

/** Why a VM cannot become so where it is. What fits already need not fit again to become smaller, nor on a host that takes no more. */
export function whyNotChanged(
  world: Pick<WorldView, 'whyNotThere'>,
  before: VmSpec,
  after: Vm,
  hostId: HostId,
): Refusal | undefined {
  const refused = world.whyNotThere(after, hostId);
  return refused && (grows(before, after.spec) || refused.filter === 'bridge') ? refused : undefined;
}

const grows = (before: VmSpec, after: VmSpec): boolean =>
  after.vcpus > before.vcpus || after.memoryBytes > before.memoryBytes || after.disks.length > before.disks.length;
