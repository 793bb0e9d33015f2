/** From what an agent sends to what the controller keeps: plain types, numbers instead of bigints, sizes bounded. Pure. */
import type { DomainDescription as DomainDescriptionOnWire } from '@berth/proto/agent/v1/adopt.ts';
import type { ImageStatus } from '@berth/proto/agent/v1/image.ts';
import type { BridgeStatus, HostReport } from '@berth/proto/agent/v1/host.ts';
import { DomainPower, type DomainSpec, type DomainStatus } from '@berth/proto/agent/v1/domain.ts';
import { OperationState, type Operation } from '@berth/proto/agent/v1/operation.ts';
import type { VolumeStatus } from '@berth/proto/agent/v1/volume.ts';
import type { Statistics } from '@berth/proto/agent/v1/watch.ts';
import type { Bridge, HostCheck, HostFacts, HostStatistics } from '@berth/shared/model/host.ts';
import { partsFromWire } from '@berth/shared/hardware/domain.ts';
import { chain, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { VmPower } from '@berth/shared/model/vm.ts';
import type { DomainDescription, OperationView } from './agent-client.ts';
import { toHostCpu } from './decode-cpu.ts';
import { KEPT_FORMATS, type KeptFormat } from '@berth/shared/model/volume.ts';
import { measure, toHostFigures } from './figures.ts';
import { clip, LIMITS } from './limits.ts';

export interface DomainRecord {
  readonly uuid: string;
  readonly name: string;
  /** Empty for a foreign domain. */
  readonly vmId: string;
  readonly power: VmPower;
  readonly reason: string;
  readonly memoryBytes: number;
  readonly vcpus: number;
  readonly seenAtMs: number;
}

export interface VolumeRecord {
  readonly vmId: string;
  readonly sizeBytes: number;
  readonly allocatedBytes: number;
  /** Empty: it stands alone. */
  readonly imageDigest: string;
  readonly seed: boolean;
  readonly format: KeptFormat;
  /** Absent: in pool `local`. */
  readonly poolId?: string;
  /** Of the unit of its pool that it is. */
  readonly unitKey?: string;
}

export interface ImageRecord {
  readonly virtualSizeBytes: number;
  readonly fileBytes: number;
}

const POWER: Readonly<Record<number, VmPower>> = {
  [DomainPower.RUNNING]: 'running',
  [DomainPower.PAUSED]: 'paused',
  [DomainPower.STOPPING]: 'stopping',
  [DomainPower.STOPPED]: 'stopped',
  [DomainPower.CRASHED]: 'crashed',
  [DomainPower.SUSPENDED]: 'suspended',
};

/** Bytes, as a number that can be counted with. */
export const bytes = (n: bigint): number => Number(n > MOST_BYTES ? MOST_BYTES : n);
const MOST_BYTES = BigInt(Number.MAX_SAFE_INTEGER);

export const toDomain = (d: DomainStatus, nowMs: number): DomainRecord => ({
  uuid: clip(d.uuid, 64),
  name: clip(d.name),
  vmId: clip(d.vmId, 64),
  power: POWER[d.power] ?? 'unknown',
  reason: clip(d.reason),
  memoryBytes: bytes(d.memoryBytes),
  vcpus: measure(d.vcpus, 65_536),
  seenAtMs: nowMs,
});

export const toFacts = (r: HostReport): HostFacts => ({
  hostname: clip(r.hostname),
  os: clip(r.os),
  kernel: clip(r.kernel),
  cpuModel: clip(r.cpuModel),
  cpuThreads: measure(r.cpuThreads, 65_536),
  memoryBytes: bytes(r.memoryBytes),
  libvirtVersion: clip(r.libvirtVersion),
  qemuVersion: clip(r.qemuVersion),
  agentVersion: clip(r.agentVersion),
  domainType: clip(r.domainType),
  bootId: clip(r.bootId),
  checks: toChecks(r.checks),
  capabilities: r.capabilities.slice(0, LIMITS.list).map((c) => clip(c)),
  diskBytes: bytes(r.diskBytes),
  diskFreeBytes: bytes(r.diskFreeBytes),
  peerAddress: clip(r.peerAddress),
  metricsAddress: clip(r.metricsAddress),
  largePages: r.largePages.slice(0, LIMITS.pageSizes).map((p) => ({
    sizeBytes: bytes(p.sizeBytes),
    total: bytes(p.total),
    free: bytes(p.free),
  })),
  ...(r.cpu && { cpu: toHostCpu(r.cpu) }),
});

export const toChecks = (checks: HostReport['checks']): HostCheck[] =>
  checks.slice(0, LIMITS.checks).map((c) => ({ name: clip(c.name), ok: c.ok, detail: clip(c.detail), fatal: c.fatal }));

export const toBridge = (b: BridgeStatus): Bridge => ({
  name: clip(b.name, 64),
  up: b.up,
  ports: b.ports.slice(0, LIMITS.list).map((p) => clip(p, 64)),
  addresses: b.addresses.slice(0, LIMITS.list).map((a) => clip(a, 64)),
  owned: b.owned,
});

export const toStatistics = (s: Statistics): HostStatistics => ({
  atMs: Number(s.atMs),
  cpuUsed: measure(s.cpuUsed, 1),
  load1: measure(s.load1, 1e6),
  memoryUsedBytes: bytes(s.memoryUsedBytes),
  diskBytes: bytes(s.diskBytes),
  diskFreeBytes: bytes(s.diskFreeBytes),
  figures: toHostFigures(s.figures),
});

export const toVolume = (v: VolumeStatus): VolumeRecord => ({
  vmId: clip(v.vmId, 64),
  sizeBytes: bytes(v.sizeBytes),
  allocatedBytes: bytes(v.allocatedBytes),
  imageDigest: clip(v.imageDigest, 128),
  seed: v.seed,
  format: KEPT_FORMATS.find((f) => f === v.format) ?? 'qcow2',
  ...(v.poolId && { poolId: clip(v.poolId, 64) }),
  ...(v.unitKey && { unitKey: clip(v.unitKey, 256) }),
});

export const toImage = (i: ImageStatus): ImageRecord => ({
  virtualSizeBytes: bytes(i.virtualSizeBytes),
  fileBytes: bytes(i.fileBytes),
});

export const toDigest = (i: ImageStatus): string => clip(i.digest, 128);

/** @param host its name, for words. */
export function toDescription(d: DomainDescriptionOnWire, host: string): DomainDescription {
  const { spec } = d;
  if (!spec) throw new ClusterError('BAD_STATE', `host ${host} says nothing of the domain`);
  const volumes = d.volumes.slice(0, LIMITS.list).map((v) => {
    const imageDigest = v.imageDigest === '' ? undefined : clip(v.imageDigest, 128);
    return [clip(v.volumeId, 64), { sizeBytes: Number(v.sizeBytes), imageDigest }] as const;
  });
  return {
    wanted: {
      vmId: clip(spec.vmId, 64),
      uuid: clip(spec.uuid, 64),
      name: clip(spec.name, 64),
      vcpus: spec.vcpus,
      memoryBytes: Number(spec.memoryBytes),
      ...toParts(spec, host),
      seedVolumeId: spec.seedVolumeId === '' ? undefined : clip(spec.seedVolumeId, 64),
      generation: Number(spec.generation),
    },
    volumes: new Map(volumes),
    changes: d.changes.slice(0, LIMITS.list).map((c) => clip(c)),
  };
}

/** @throws BAD_STATE when its hardware is nothing that Berth could have asked for */
function toParts(spec: DomainSpec, host: string): ReturnType<typeof partsFromWire> {
  try {
    const parts = partsFromWire(`vm ${clip(spec.name, 64)}`, {
      ...spec,
      disks: spec.disks.slice(0, LIMITS.list),
      nics: spec.nics.slice(0, LIMITS.list),
      cdroms: spec.cdroms.slice(0, LIMITS.list),
    });
    return {
      ...parts,
      disks: parts.disks.map((x) => ({ ...x, target: clip(x.target, 16), volumeId: clip(x.volumeId, 64) })),
      nics: parts.nics.map((n) => ({
        ...n,
        mac: clip(n.mac, 64),
        bridge: clip(n.bridge, 64),
        model: clip(n.model, 64),
      })),
    };
  } catch (e) {
    throw new ClusterError('BAD_STATE', `host ${host} describes hardware that cannot be: ${clip(chain(e), 400)}`);
  }
}

const OPERATION_STATE: Readonly<Record<number, OperationView['state']>> = {
  [OperationState.RUNNING]: 'running',
  [OperationState.SUCCEEDED]: 'succeeded',
  [OperationState.FAILED]: 'failed',
  [OperationState.CANCELLED]: 'cancelled',
};

export function toOperation(o: Operation): OperationView {
  const state = OPERATION_STATE[o.state] ?? 'running';
  return {
    id: clip(o.id, 200),
    state,
    error:
      state === 'failed'
        ? { reason: clip(o.errorReason, 64) || 'INTERNAL', message: clip(o.errorMessage, LIMITS.errorChars), meta: {} }
        : undefined,
    doneBytes: bytes(o.progressDoneBytes),
    totalBytes: bytes(o.progressTotalBytes),
    needsSource: o.needsSource,
    ...(o.turnedAway && {
      turnedAway: { hostId: clip(o.turnedAway.hostId, 64), why: clip(o.turnedAway.why, LIMITS.errorChars) },
    }),
    ...(o.sourceHostId !== '' && { sourceHostId: clip(o.sourceHostId, 64) }),
    image: o.image
      ? {
          digest: clip(o.image.digest, 128),
          virtualSizeBytes: bytes(o.image.virtualSizeBytes),
          fileBytes: bytes(o.image.fileBytes),
          sourceDigest: clip(o.image.sourceDigest, 128),
          ...(o.image.medium && { medium: true }),
          ...(o.image.detail !== undefined && { detail: clip(o.image.detail, 64) }),
        }
      : undefined,
    ...(o.detail !== undefined && { detail: clip(o.detail, 500) }),
  };
}
