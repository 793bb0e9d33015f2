/**
 * The steps that vm.create and vm.clone share: keep the name, choose a host and claim it, make volume, seed and domain, show
 * the VM. Each is undone by its own kind of removal. Builders only; the jobs are vm-create.ts and vm-clone.ts.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { parseSelector } from '@berth/shared/labels/selector.ts';
import type { HostId, ImageId, VmId } from '@berth/shared/model/ids.ts';
import type { Vm, VmSpec } from '@berth/shared/model/vm.ts';
import type { DomainRef, SeedWanted } from '../hosts/agent-client.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { PlacementRequest } from '../scheduler/world.ts';
import type { Tables } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import {
  wait,
  Wait,
  type LocalContext,
  type LocalStep,
  type RemoteContext,
  type RemoteStep,
  type StepContext,
} from './engine/define.ts';
import { insist, known, settle, untilSeen } from './operate.ts';
import { offlineWanted } from './offline-identity.ts';
import { noCapacity } from './refused.ts';
import { domainWanted } from './wanted.ts';
import { claimOf, requestOf, type ImageOf } from './world.ts';

export interface MakeParams {
  readonly vmId: VmId;
  /** The one host that was asked for. */
  readonly hostId: HostId | null;
  /** Labels of the hosts that will do, as a selector. */
  readonly hosts?: string;
  /** One of many that are shown together, by the job that makes them all. */
  readonly hidden?: boolean;
  /** It is started when it is made (reconcilers/first-starts.ts), so it takes CPU and memory from now on. */
  readonly start?: boolean;
}

type Placed = {
  readonly place: { readonly hostId: HostId; readonly host: string };
  /** Of a clone: made while its images are still coming. */
  readonly image?: { readonly fetched?: boolean; readonly instant?: boolean };
};
type Context = StepContext<MakeParams, Placed, JobDeps>;
type Local<O> = LocalStep<MakeParams, object, JobDeps, O>;
type Remote<O> = RemoteStep<MakeParams, Placed, JobDeps, O>;

export function getVm(tables: Tables, vmId: VmId): Vm {
  const vm = tables.vms.get(vmId);
  if (!vm) throw new ClusterError('NOT_FOUND', `vm ${vmId} does not exist any more`);
  return vm;
}

/** The row was put when the job was started, so that a duplicate loses at once; unwinding takes it back, last of all. */
export const reserve: Local<null> = {
  run({ tables, params }) {
    getVm(tables, params.vmId);
    return null;
  },
  undo({ tx, params }) {
    tx.vms.delete(params.vmId);
  },
};

/** What is asked of a host for it. @param imageOf shared by many */
export function wishOf(
  vm: Vm,
  tables: Tables,
  { hostId, hosts }: Pick<MakeParams, 'hostId' | 'hosts'>,
  imageOf?: ImageOf,
): PlacementRequest {
  const request = requestOf(vm, tables, hostId ?? undefined, imageOf);
  return hosts === undefined ? request : { ...request, fits: parseSelector(hosts) };
}

/** How often a host that does not answer is looked at again, and for how long. */
const AWAY_MS = 1_000;
const LONGEST_AWAY_MS = 120_000;

type LocalMake = LocalContext<MakeParams, object, JobDeps>;

/**
 * The host that it was promised with others, while it fits there. One that is away, as all are when we begin, may come back; after
 * a while another will do, unless just that one was asked for.
 */
function stays({ memo, nowMs, deps, params }: LocalMake, vm: Vm): { readonly hostId: HostId } | Wait | undefined {
  const { hostId } = vm;
  if (hostId === undefined) return undefined;
  const refused = deps.world.whyNotThere(vm, hostId);
  if (refused?.filter !== 'state') return refused ? undefined : { hostId };
  const { sinceMs = nowMs } = (memo ?? {}) as { readonly sinceMs?: number };
  const words = `${refused.host} ${refused.detail}`;
  if (nowMs - sinceMs < LONGEST_AWAY_MS) return wait(AWAY_MS, words, { sinceMs });
  if (params.hostId === null) return undefined;
  throw new ClusterError('HOST_UNREACHABLE', `vm ${vm.name} was to be made on ${refused.host}, but ${words}`);
}

export const choose: Local<{ hostId: HostId; host: string }> = {
  // it was waited for
  failOn: ['HOST_UNREACHABLE'],
  run(c) {
    const { tx, tables, params, deps } = c;
    const vm = getVm(tables, params.vmId);
    const kept = stays(c, vm);
    if (Wait.is(kept)) return kept;
    const answer = kept ?? deps.world.place(wishOf(vm, tables, params));
    if (!('hostId' in answer)) throw noCapacity(vm, answer.refusals);
    tx.vms.put({ ...vm, hostId: answer.hostId });
    tx.claims.put(claimOf(vm, answer.hostId, params.start === true));
    return { hostId: answer.hostId, host: tables.hosts.get(answer.hostId)?.name ?? answer.hostId };
  },
  undo({ tx, params }) {
    tx.claims.delete(params.vmId);
  },
  describe: (out) => out.host,
};

const hostOf = (c: Context): HostId => c.outs.place.hostId;
const agentOf = (c: Context): ReturnType<JobDeps['hosts']['agent']> => c.deps.hosts.agent(hostOf(c));
const because = (c: Context): string =>
  `making vm ${c.tables.vms.get(c.params.vmId)?.name ?? c.params.vmId} was undone`;

/** What a step made, for people. Older versions logged nothing. */
type Told = { readonly what: string } | null;
const told = (out: Told): string => out?.what ?? '';

/** What the host is to make of a disk. */
export function volumeWanted(tables: Tables, vmId: VmId, d: VmSpec['disks'][number]) {
  const imageId = d.imageId ?? d.copyOf;
  const imageDigest = imageId && tables.images.get(imageId)?.digest;
  const full = d.copyOf === undefined ? {} : { full: true };
  const format = d.options?.format === 'raw' ? { format: d.options.format } : {};
  const pool = d.poolId === undefined ? {} : { poolId: d.poolId };
  return { volumeId: d.volumeId, vmId, imageDigest, sizeBytes: d.sizeBytes, ...format, ...pool, ...full };
}

/** Its disks, each under an operation of its own. */
export const volume: Remote<Told> = {
  host: hostOf,
  operations: (c) => getVm(c.tables, c.params.vmId).spec.disks.map((d) => `${c.opId}.${d.target}`),
  async run(c) {
    for (const d of getVm(c.tables, c.params.vmId).spec.disks) {
      const local = d.imageId !== undefined && d.poolId === undefined;
      const instant = c.outs.image?.instant === true && local ? { instant: true } : {};
      const wanted = { ...volumeWanted(c.tables, c.params.vmId, d), ...instant };
      const call = agentOf(c).ensureVolume(`${c.opId}.${d.target}`, wanted);
      const op = await settle(c, call, `making disk ${d.target}`);
      if (Wait.is(op)) return op;
    }
    const { disks } = getVm(c.tables, c.params.vmId).spec;
    return { what: disks.map((d) => diskWords(c.tables, d)).join('; ') };
  },
  undo: (c) => removeVolumes(c, (spec) => spec.disks.map((d) => d.volumeId)),
  describe: told,
  debts: (c) => c.tables.vms.get(c.params.vmId)?.spec.disks.map((d) => volumeDebt(c, d.volumeId)) ?? [],
};

/** Who its guest is, written into its first disk before it boots. What it has done goes with the volume. */
export const customize: Remote<Told> = {
  host: hostOf,
  async run(c) {
    const vm = getVm(c.tables, c.params.vmId);
    const wanted = offlineWanted(vm);
    if (wanted === undefined) return { what: 'not needed' };
    const agent = agentOf(c);
    const op = await settle(
      c,
      known(agent, c.opId, () => agent.customizeVolume(c.opId, wanted), c.notes),
      'telling the guest who it is',
    );
    return Wait.is(op) ? op : { what: op.detail ?? '' };
  },
  describe: told,
};

export const seed: Remote<Told> = {
  host: hostOf,
  async run(c) {
    const vm = getVm(c.tables, c.params.vmId);
    if (vm.spec.seedVolumeId === undefined) return { what: 'not needed' };
    const wanted = { volumeId: vm.spec.seedVolumeId, vmId: vm.id, seed: seedWanted(vm) };
    const op = await settle(c, agentOf(c).ensureSeed(c.opId, wanted), 'writing the seed');
    return Wait.is(op) ? op : { what: ['name', ...seedParts(vm)].join(', ') };
  },
  undo: (c) => removeVolumes(c, (spec) => (spec.seedVolumeId === undefined ? [] : [spec.seedVolumeId])),
  describe: told,
  debts: (c) => {
    const id = c.tables.vms.get(c.params.vmId)?.spec.seedVolumeId;
    return id === undefined ? [] : [volumeDebt(c, id)];
  },
};

export const define: Remote<Told> = {
  host: hostOf,
  async run(c) {
    const vm = getVm(c.tables, c.params.vmId);
    const op = await settle(c, agentOf(c).ensureDomain(c.opId, domainWanted(c.tables, vm)), 'defining');
    const unseen = Wait.is(op) ? op : untilSeen(c, c.deps.hosts.vm(vm.id) !== undefined, 'defining');
    const { vcpus, memoryBytes, nics } = vm.spec;
    const cards = nics.map((n) => `${n.mac} on ${n.bridge}`);
    return unseen ?? { what: [`${vcpus} vCPU`, formatBytes(memoryBytes), ...cards].join(', ') };
  },
  async undo(c) {
    const ref = domainRef(getVm(c.tables, c.params.vmId));
    const op = await insist(c, c.undoOpId, (id) => agentOf(c).removeDomain(id, ref), 'undefining');
    return Wait.is(op) ? op : undefined;
  },
  describe: told,
  debts: (c) => {
    const vm = c.tables.vms.get(c.params.vmId);
    return vm ? [{ kind: 'domain', target: vm.uuid, vmId: vm.id, why: because(c) }] : [];
  },
};

export const publish: Local<null> = {
  run(c) {
    if (c.params.hidden !== true) tellMade(c, getVm(c.tables, c.params.vmId));
    return null;
  },
};

export function tellMade({ tx, tables, jobId }: Pick<LocalContext, 'tx' | 'tables' | 'jobId'>, vm: Vm): void {
  const { batchId: _, ...made } = vm;
  tx.vms.put({ ...made, phase: 'ready' });
  const host = vm.hostId && tables.hosts.get(vm.hostId)?.name;
  const message = `vm ${vm.name} created on ${host ?? 'no host'}`;
  tx.event({ type: 'vm.created', severity: 'info', subjectKind: 'vm', subject: vm.name, message, jobId });
}

/** What the guest is told beside its name. */
const seedParts = ({ spec: { nics, sshKeys, userData } }: Vm): string[] => [
  ...nics.flatMap((n) => n.address ?? []),
  ...(sshKeys.length > 0 ? [`${sshKeys.length} SSH ${sshKeys.length === 1 ? 'key' : 'keys'}`] : []),
  ...(userData === '' ? [] : ['user-data']),
];

/** `vda 2 GiB, overlay on base` */
function diskWords(tables: Tables, d: VmSpec['disks'][number]): string {
  const nameOf = (id: ImageId): string => tables.images.get(id)?.name ?? 'an image';
  const kind = d.imageId ? `overlay on ${nameOf(d.imageId)}` : d.copyOf ? `copy of ${nameOf(d.copyOf)}` : 'blank';
  return `${d.target} ${formatBytes(d.sizeBytes)}, ${kind}`;
}

async function removeVolumes(
  c: RemoteContext<MakeParams, Placed, JobDeps>,
  which: (spec: VmSpec) => readonly string[],
): Promise<void | Wait> {
  for (const id of which(getVm(c.tables, c.params.vmId).spec)) {
    const op = await insist(c, `${c.undoOpId}.${id}`, (opId) => agentOf(c).removeVolume(opId, id), 'removing a volume');
    if (Wait.is(op)) return op;
  }
}

const volumeDebt = (c: Context, target: string) =>
  ({ kind: 'volume', target, vmId: c.params.vmId, why: because(c) }) as const;

export const domainRef = (vm: Vm): DomainRef => ({ uuid: vm.uuid, vmId: vm.id });

const seedWanted = (vm: Vm): SeedWanted => ({
  instanceId: vm.id,
  hostname: vm.name,
  nics: vm.spec.nics.map(({ mac, address, gateway, dns }) => ({ mac, address, gateway, dns })),
  sshKeys: vm.spec.sshKeys,
  userData: vm.spec.userData,
});
