/** What must hold after every step of a simulation, and what must hold when all has calmed down. Each breach is a sentence. */
import { allMemoryBytes, allVcpus, memoryOf } from '@berth/controller/scheduler/capacity.ts';
import { DEFAULT_POLICY } from '@berth/controller/scheduler/world.ts';
import { ClaimSums } from '@berth/shared/model/claim.ts';
import type { Tables } from '@berth/controller/state/state.ts';
import { facts } from '../harness/world-builder.ts';
import type { FakeHosts } from '../harness/fake-hosts.ts';

/** Fake hosts are all alike. */
const HAS = facts();

export function always(tables: Tables): readonly string[] {
  return [...overcommitted(tables), ...lockedByNobody(tables)];
}

function overcommitted(tables: Tables): readonly string[] {
  const memoryBytes = allMemoryBytes(HAS, DEFAULT_POLICY);
  const out: string[] = [];
  for (const host of tables.hosts.values()) {
    const claims = [...tables.claims.byHost(host.id)];
    const { powered, diskBytes } = ClaimSums.of(claims);
    const memory = memoryOf(powered, HAS.domainType);
    if (memory > memoryBytes) out.push(`${host.name} has promised ${memory} of ${memoryBytes} bytes of memory`);
    if (powered.vcpus > allVcpus(HAS, DEFAULT_POLICY)) out.push(`${host.name} has promised too many vCPUs`);
    if (diskBytes > HAS.diskFreeBytes) out.push(`${host.name} has promised too much disk`);
    const kept = tables.claims.sums(host.id);
    if (JSON.stringify(kept) !== JSON.stringify(ClaimSums.of(claims))) out.push(`the sums of ${host.name} are wrong`);
  }
  return out;
}

/** Nobody but a job may leave an object half made or half removed. */
export function lockedByNobody(tables: Tables): readonly string[] {
  const vms = [...tables.vms.values()].filter((v) => v.phase !== 'ready').map((v) => [`vm/${v.id}`, v.phase] as const);
  const images = [...tables.images.values()]
    .filter((i) => i.state !== 'available')
    .map((i) => [`image/${i.id}`, i.state] as const);
  return [...vms, ...images]
    .filter(([object]) => tables.jobs.holders(object).length === 0)
    .map(([object, phase]) => `${object} is ${phase}, and no job works on it`);
}

export function atRest(tables: Tables, hosts: FakeHosts): readonly string[] {
  const out: string[] = [];
  for (const job of tables.jobs.open()) out.push(`job ${job.kind} ${job.subject} is ${job.state}: ${job.waitReason}`);
  for (const debt of tables.debts.values()) out.push(`debt ${debt.kind} ${debt.target} is not paid`);
  for (const claim of tables.claims.values())
    if (!tables.vms.get(claim.vmId)) out.push(`claim of nobody: ${claim.vmId}`);
  for (const host of hosts.all()) out.push(...orphans(tables, host), ...lost(tables, host));
  return out;
}

type Host = ReturnType<FakeHosts['host']>;

function orphans(tables: Tables, host: Host): readonly string[] {
  const out: string[] = [];
  const lives = (vmId: string): boolean => tables.vms.get(vmId)?.hostId === host.id;
  for (const [id, v] of host.volumes) if (!lives(v.vmId)) out.push(`orphan volume ${id} on ${host.name}`);
  for (const [id, d] of host.domains) if (!lives(d.wanted.vmId)) out.push(`orphan domain ${id} on ${host.name}`);
  for (const id of host.uploads.keys()) out.push(`orphan upload ${id} on ${host.name}`);
  const digests = new Set(tables.imageCopies.byHost(host.id as never).map((c) => tables.images.get(c.imageId)?.digest));
  for (const digest of host.images.keys()) if (!digests.has(digest)) out.push(`orphan image ${digest} on ${host.name}`);
  return out;
}

/** A domain may be missing after a delete was given up on a silent host: starting the VM makes it again, from its disks. */
function lost(tables: Tables, host: Host): readonly string[] {
  const out: string[] = [];
  for (const vm of tables.vms.byHost(host.id as never)) {
    for (const d of vm.spec.disks) if (!host.volumes.has(d.volumeId)) out.push(`vm ${vm.name} has lost ${d.target}`);
    if (tables.claims.get(vm.id)?.hostId !== host.id) out.push(`vm ${vm.name} has no claim on ${host.name}`);
  }
  for (const copy of tables.imageCopies.byHost(host.id as never)) {
    const image = tables.images.get(copy.imageId);
    if (!image?.digest || !host.images.has(image.digest)) out.push(`no file for image ${image?.name} on ${host.name}`);
  }
  return out;
}
