/** A VM: what people asked for (spec), what its host says (observed), and the one word that we show. Plain data; no I/O. */
import type { CdromBus, DiskOptions, Hardware, NicOptions } from '../hardware/schema.ts';
import type { SnapshotPower } from './snapshot.ts';
import type { VolumeUnit } from './volume.ts';
import type { HostId, ImageId, JobId, NetworkId, PoolId, VmId, VolumeId } from './ids.ts';

export interface VmDisk {
  /** vda, vdb, … on virtio; sda or hda, … on other buses. */
  readonly target: string;
  readonly volumeId: VolumeId;
  readonly sizeBytes: number;
  /** Image below it, or undefined for a blank disk. */
  readonly imageId: ImageId | undefined;
  readonly options?: DiskOptions | undefined;
  /** Where it lies. Absent: in pool `local` of its host. */
  readonly poolId?: PoolId | undefined;
  /** Of its pool, which it is: a LUN. */
  readonly unit?: VolumeUnit | undefined;
  /** It was made as a copy of this image, and rests on nothing. */
  readonly copyOf?: ImageId | undefined;
}

/** A CD-ROM drive; the image in it is its medium. */
export interface VmCdrom {
  readonly target: string;
  readonly bus: CdromBus;
  readonly imageId: ImageId | undefined;
}

export interface VmNic {
  readonly mac: string;
  readonly bridge: string;
  readonly model: string;
  /** Static address (CIDR) given to the guest. */
  readonly address: string | undefined;
  readonly gateway: string | undefined;
  readonly dns: readonly string[];
  readonly options?: NicOptions | undefined;
  /** The logical network that it is in, whose bridge stands above. Absent: a bridge was named. */
  readonly networkId?: NetworkId | undefined;
}

export interface VmSpec {
  readonly vcpus: number;
  readonly memoryBytes: number;
  readonly disks: readonly VmDisk[];
  readonly nics: readonly VmNic[];
  readonly seedVolumeId: VolumeId | undefined;
  readonly sshKeys: readonly string[];
  readonly userData: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly runPolicy: RunPolicy;
  /** Absent: as of a VM of which nothing more was said. */
  readonly hardware?: Hardware | undefined;
  readonly cdroms?: readonly VmCdrom[] | undefined;
  /** Of which guest the devices are that nothing else was said of. */
  readonly osVariant?: string | undefined;
  /** How its guest learned who it is, when it was made; absent: by a seed. */
  readonly identity?: Exclude<Identity, 'cloud-init'> | undefined;
  /** Only with identity offline. */
  readonly firstBoot?: string | undefined;
}

/** By a NoCloud seed, by a disk that is changed before it boots first, or not at all. */
export const IDENTITIES = ['cloud-init', 'offline', 'none'] as const;
export type Identity = (typeof IDENTITIES)[number];

export const RUN_POLICIES = ['manual', 'restartOnFailure', 'always'] as const;
export type RunPolicy = (typeof RUN_POLICIES)[number];

/** What is durable of a snapshot: a part of its VM's row, and gone with it. */
export interface VmSnapshot {
  readonly name: string;
  readonly description: string;
  readonly createdAtMs: number;
  /** `creating` and `deleting` have a job that does it. */
  readonly phase: 'creating' | 'ready' | 'deleting';
  readonly memory: boolean;
  /** What a revert leads to. */
  readonly power: SnapshotPower;
  /** stopped, frozen, crash-consistent, memory; empty while it is made. */
  readonly consistency: string;
  /** Targets. */
  readonly disks: readonly string[];
  /** The machine of then. */
  readonly spec: Pick<VmSpec, 'vcpus' | 'memoryBytes' | 'disks' | 'nics' | 'cdroms' | 'hardware'>;
}

/** What is durable about a VM. `phase` is ours: a VM that is being made or removed has a job that does it. */
export interface Vm {
  readonly id: VmId;
  readonly name: string;
  readonly uuid: string;
  readonly phase: 'creating' | 'ready' | 'deleting';
  readonly hostId: HostId | undefined;
  readonly desiredPower: 'on' | 'off';
  readonly spec: VmSpec;
  /** What it runs with until its next start, where that is other than its spec. */
  readonly live?: VmSpec | undefined;
  /** While it is made with others: the job that makes them all. */
  readonly batchId?: JobId | undefined;
  /** While a job changes its spec: what to go back to. */
  readonly before?: Pick<Vm, 'spec' | 'live'> | undefined;
  readonly generation: number;
  readonly createdAtMs: number;
  /** Of its disks, oldest first. */
  readonly snapshots?: readonly VmSnapshot[] | undefined;
  /** When it was first started with its seed. */
  readonly firstBootAtMs?: number | undefined;
}

export type VmPower = 'running' | 'paused' | 'stopping' | 'stopped' | 'crashed' | 'suspended' | 'unknown';

/** What its host said last. */
export interface VmObserved {
  readonly vmId: VmId;
  readonly hostId: HostId;
  readonly power: VmPower;
  readonly reason: string;
  readonly seenAtMs: number;
  /** Since when its QEMU does not answer, though it runs. */
  readonly silentSinceMs?: number | undefined;
}

export type VmState =
  | 'creating'
  | 'stopped'
  | 'starting'
  | 'running'
  | 'paused'
  | 'stopping'
  | 'crashed'
  | 'deleting'
  | 'unknown'
  | 'missing'
  | 'saved';

export interface VmJobRef {
  readonly id: JobId;
  readonly kind: string;
}

/** How well the host of a VM is known at the moment. `complete`: its list of domains is whole, so absence counts. */
export interface HostView {
  readonly reachable: boolean;
  readonly complete: boolean;
}

/** The word we show. Pure: the same for API, command line and console. */
export function vmState(
  vm: Vm,
  observed: VmObserved | undefined,
  job: VmJobRef | undefined,
  host: HostView | undefined,
): VmState {
  if (vm.phase === 'creating') return 'creating';
  if (vm.phase === 'deleting') return 'deleting';
  if (!host?.reachable) return 'unknown';
  if (observed === undefined) return host.complete ? 'missing' : 'unknown';
  if (job?.kind === 'vm.start' && observed.power !== 'running') return 'starting';
  if (job?.kind === 'vm.stop' && observed.power !== 'stopped') return 'stopping';
  if (observed.power === 'stopped' && observed.reason === 'saved') return 'saved';
  return observed.power === 'suspended' ? 'paused' : observed.power;
}
