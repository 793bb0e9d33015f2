/** From our own types to the wire. */
import { DomainPower, type DomainStatus } from '@berth/proto/agent/v1/domain.ts';
import type { BridgeStatus, HostReport } from '@berth/proto/agent/v1/host.ts';
import type { ImageStatus } from '@berth/proto/agent/v1/image.ts';
import { OperationState, type Operation } from '@berth/proto/agent/v1/operation.ts';
import type { VolumeStatus } from '@berth/proto/agent/v1/volume.ts';
import type { CpuDefinition as CpuOnWire } from '@berth/proto/v1/cpu.ts';
import type { CpuDefinition } from '@berth/shared/model/cpu.ts';
import type { Bridge, HostFacts } from '@berth/shared/model/host.ts';
import type { ImageSeen, VolumeSeen } from '../drivers/disks.ts';
import type { OperationView } from '../operations/operation.ts';
import type { DomainReport } from '../watch/items.ts';

/** Counters and sizes are whole and not negative on the wire, whatever a driver says. */
export const toWire = (n: number): bigint => BigInt(Math.max(0, Math.trunc(Number.isFinite(n) ? n : 0)));

const STATES = {
  running: OperationState.RUNNING,
  succeeded: OperationState.SUCCEEDED,
  failed: OperationState.FAILED,
  cancelled: OperationState.CANCELLED,
} as const satisfies Record<OperationView['state'], OperationState>;

const POWERS = {
  running: DomainPower.RUNNING,
  paused: DomainPower.PAUSED,
  stopping: DomainPower.STOPPING,
  stopped: DomainPower.STOPPED,
  crashed: DomainPower.CRASHED,
  suspended: DomainPower.SUSPENDED,
  unknown: DomainPower.UNKNOWN,
} as const satisfies Record<DomainReport['power'], DomainPower>;

export const encodeOperation = (v: OperationView): Operation => ({
  id: v.id,
  state: STATES[v.state],
  errorReason: v.failure?.reason ?? '',
  errorMessage: v.failure?.message ?? '',
  progressDoneBytes: toWire(v.doneBytes),
  progressTotalBytes: toWire(v.totalBytes),
  needsSource: v.needsSource,
  ...(v.turnedAway && { turnedAway: { ...v.turnedAway } }),
  sourceHostId: v.sourceHostId ?? '',
  image: v.image && {
    digest: v.image.digest,
    virtualSizeBytes: toWire(v.image.virtualSizeBytes),
    fileBytes: toWire(v.image.fileBytes),
    sourceDigest: v.image.sourceDigest,
    ...(v.image.medium && { medium: true }),
    ...(v.image.detail !== undefined && { detail: v.image.detail }),
  },
  ...(v.detail !== undefined && { detail: v.detail }),
});

export const encodeDomain = (d: DomainReport): DomainStatus => ({
  ...d,
  power: POWERS[d.power],
  memoryBytes: toWire(d.memoryBytes),
});

export const encodeVolume = (v: VolumeSeen): VolumeStatus => ({
  volumeId: v.volumeId,
  vmId: v.vmId,
  sizeBytes: toWire(v.sizeBytes),
  allocatedBytes: toWire(v.allocatedBytes),
  imageDigest: v.imageDigest ?? '',
  seed: v.seed,
  ...(v.format !== undefined && v.format !== 'qcow2' && { format: v.format }),
  ...(v.poolId !== undefined && { poolId: v.poolId }),
  ...(v.filling === true && { filling: true }),
  ...(v.unitKey !== undefined && { unitKey: v.unitKey }),
});

export const encodeImage = (i: ImageSeen): ImageStatus => ({
  digest: i.digest,
  virtualSizeBytes: toWire(i.virtualSizeBytes),
  fileBytes: toWire(i.fileBytes),
});

export const encodeBridge = (b: Bridge): BridgeStatus => ({
  name: b.name,
  up: b.up,
  ports: [...b.ports],
  addresses: [...b.addresses],
  owned: b.owned,
});

export const encodeCpu = ({ model, vendor, features }: CpuDefinition): CpuOnWire => ({
  ...{ model, vendor },
  features: features.map((f) => ({ name: f.name, policy: f.policy })),
});

export const encodeHost = (h: HostFacts): HostReport => ({
  cpu: h.cpu && { definition: encodeCpu(h.cpu), features: [...h.cpu.all], models: [...h.cpu.models] },
  hostname: h.hostname,
  os: h.os,
  kernel: h.kernel,
  cpuModel: h.cpuModel,
  cpuThreads: h.cpuThreads,
  memoryBytes: toWire(h.memoryBytes),
  libvirtVersion: h.libvirtVersion,
  qemuVersion: h.qemuVersion,
  agentVersion: h.agentVersion,
  domainType: h.domainType,
  bootId: h.bootId,
  checks: h.checks.map((c) => ({ ...c })),
  capabilities: [...h.capabilities],
  diskBytes: toWire(h.diskBytes),
  diskFreeBytes: toWire(h.diskFreeBytes),
  peerAddress: h.peerAddress,
  metricsAddress: h.metricsAddress ?? '',
  largePages: (h.largePages ?? []).map((p) => ({
    sizeBytes: toWire(p.sizeBytes),
    total: toWire(p.total),
    free: toWire(p.free),
  })),
});
