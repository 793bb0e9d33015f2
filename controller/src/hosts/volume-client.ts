/** What is asked of a host about the volumes that it has. Types only; grpc-volume-client.ts asks. Capability `volume.data`. */
import type { DomainDefinition } from '@berth/shared/hardware/domain.ts';
import type { KeptFormat, Preallocation, VolumeFormat } from '@berth/shared/model/volume.ts';

export interface MakeVolume {
  readonly volumeId: string;
  /** Empty: nobody's. */
  readonly vmId: string;
  readonly imageDigest: string | undefined;
  readonly sizeBytes: number;
  readonly format: VolumeFormat;
  readonly preallocation: Preallocation;
  /** 0: the usual. */
  readonly clusterBytes: number;
  readonly lazyRefcounts: boolean;
  /** Capability `volume.move`. Absent: in the host's own folder. */
  readonly poolId?: string;
  /** These two: capability `volume.block`. */
  readonly unit?: string;
  readonly unitKey?: string;
}

export interface MoveVolume {
  readonly volumeId: string;
  /** Empty: `local`. */
  readonly to: string;
  /** Capability `volume.pool-files`: it rests on no image there. */
  readonly full?: boolean;
}

export interface RewriteVolume {
  readonly volumeId: string;
  /** Others than qcow2 and raw: capability `volume.foreign`. */
  readonly format: KeptFormat;
  /** That it shall be based on. */
  readonly imageDigest: string | undefined;
  /** Left alone when it is so already. */
  readonly ifOther: boolean;
}

export interface ReceiveVolume {
  readonly volumeId: string;
  readonly imageDigest: string | undefined;
  readonly sizeBytes: number;
  readonly format: VolumeFormat;
  /** Empty: the host's own folder. */
  readonly poolId: string;
}

export interface OpenVolumeExport {
  readonly volumeId: string;
  readonly peerHostId: string;
  /** Capability `volume.full`: a file that `export` has made of it. Empty: its own. */
  readonly exportId: string;
}

/** @typeParam Op what tells of an operation. */
export interface VolumeClient<Op> {
  make(operationId: string, v: MakeVolume): Promise<Op>;
  /** @param v.from owners: ids of VMs; empty for nobody. */
  assign(operationId: string, v: { volumeId: string; from: string; to: string }): Promise<Op>;
  /** These two: capability `domain.devices`. @param device target of a disk, or MAC address of a card */
  attachDevice(operationId: string, spec: DomainDefinition, device: string): Promise<Op>;
  detachDevice(operationId: string, domain: { uuid: string; vmId: string }, device: string): Promise<Op>;
  /** These two: capability `volume.rewrite`. */
  rewrite(operationId: string, v: RewriteVolume): Promise<Op>;
  wipe(operationId: string, volumeId: string): Promise<Op>;
  /** These two: capability `volume.transfer`. Waits for `offerSource`. Long. */
  receive(operationId: string, v: ReceiveVolume): Promise<Op>;
  openExport(v: OpenVolumeExport): Promise<{ ticket: string; address: string }>;
  /** Capability `volume.export`. For `readExport` of the agent. Long. */
  export(operationId: string, v: { volumeId: string; format: string; exportId: string }): Promise<Op>;
  /** These two: capability `volume.move`. @param v.to a pool; empty: the host's own folder. Long. */
  move(operationId: string, v: MoveVolume): Promise<Op>;
  /** Its former file goes. */
  finishMove(operationId: string, volumeId: string): Promise<Op>;
  resize(operationId: string, v: { volumeId: string; sizeBytes: number; shrink: boolean }): Promise<Op>;
}
