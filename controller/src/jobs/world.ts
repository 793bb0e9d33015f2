/** The scheduler's picture of the cluster, and a VM's request, from tables and reports. Decides nothing. */
import type { Claim } from '@berth/shared/model/claim.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import type { Vm, VmSpec } from '@berth/shared/model/vm.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { refusals } from '../scheduler/place.ts';
import type { PlacementRequest, Policy, Refusal, World, WorldHost } from '../scheduler/world.ts';
import type { Tables } from '../state/state.ts';

/** A seed is an ISO of a few small files. */
const SEED_BYTES = 1024 * 1024;
/** A label of a VM that begins so asks for the host's label of the rest of the name. */
const HOST_LABEL = 'host.';

export function buildWorld(tables: Tables, hosts: Hosts, policy: Policy): World {
  return { policy, hosts: [...tables.hosts.values()].map((h) => worldHost(h, tables, hosts)) };
}

function worldHost(host: Host, tables: Tables, hosts: Hosts): WorldHost {
  const status = hosts.status(host.id);
  return {
    id: host.id,
    name: host.name,
    state: status.state,
    stateReason: status.reason,
    maintenance: host.maintenance,
    labels: host.labels,
    facts: status.facts,
    bridges: status.bridges,
    foreign: status.foreign.map((d) => ({
      memoryBytes: d.memoryBytes,
      vcpus: d.vcpus,
      running: d.power !== 'stopped' && d.power !== 'crashed',
    })),
    claims: tables.claims.byHost(host.id),
    allocatedBytes: status.volumesAllocatedBytes ?? 0,
    diskFreeBytes: status.statistics?.diskFreeBytes ?? status.facts?.diskFreeBytes ?? 0,
    imageDigests: imageDigests(tables, host.id),
  };
}

function imageDigests(tables: Tables, hostId: HostId): ReadonlySet<string> {
  const digests = tables.imageCopies.byHost(hostId).map((c) => tables.images.get(c.imageId)?.digest);
  return new Set(digests.filter((d) => d !== undefined));
}

export const claimOf = (vm: Vm, hostId: HostId, powered: boolean): Claim => ({
  vmId: vm.id,
  hostId,
  vcpus: vm.spec.vcpus,
  memoryBytes: vm.spec.memoryBytes,
  diskBytes: diskBytes(vm.spec),
  powered,
});

const diskBytes = (spec: VmSpec): number =>
  spec.disks.reduce((n, d) => n + d.sizeBytes, spec.seedVolumeId === undefined ? 0 : SEED_BYTES);

/** @param only the one host that will do, when there is just one. */
export function requestOf(vm: Vm, tables: Tables, only: HostId | undefined): PlacementRequest {
  const imageId = vm.spec.disks.find((d) => d.imageId !== undefined)?.imageId;
  return {
    vmId: vm.id,
    vcpus: vm.spec.vcpus,
    memoryBytes: vm.spec.memoryBytes,
    diskBytes: diskBytes(vm.spec),
    image: imageId && imageWanted(tables, imageId),
    bridges: [...new Set(vm.spec.nics.map((n) => n.bridge))],
    capabilities: [],
    hostLabels: Object.fromEntries(
      Object.entries(vm.spec.labels)
        .filter(([k]) => k.startsWith(HOST_LABEL))
        .map(([k, v]) => [k.slice(HOST_LABEL.length), v]),
    ),
    hostId: only,
  };
}

function imageWanted(tables: Tables, imageId: ImageId): PlacementRequest['image'] {
  const digest = tables.images.get(imageId)?.digest;
  const fileBytes = Math.max(0, ...tables.imageCopies.byImage(imageId).map((c) => c.fileBytes));
  return digest === undefined ? undefined : { digest, fileBytes };
}

/** Why the VM does not fit on the host it lives on; undefined when it does. */
export function whyNotThere(vm: Vm, hostId: HostId, world: World, tables: Tables): Refusal | undefined {
  return refusals(world, requestOf(vm, tables, hostId))[0];
}
