/**
 * What jobs and services may ask of one host. Implemented over gRPC by grpc-agent-client.ts, and by simulated hosts in
 * tests. Every changing call takes an operation id and may be repeated. Transport failures are HOST_UNREACHABLE.
 */
import type { Readable } from 'node:stream';
import type { Duplex } from 'node:stream';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import type { DomainDefinition } from '@berth/shared/hardware/domain.ts';
import type { JobError } from '@berth/shared/model/job.ts';
import type { Tuning } from '@berth/shared/model/tuning.ts';
import type { LogClient } from './log-client.ts';
import type { NetworkClient } from './network-client.ts';
import type { PoolClient } from './pool-client.ts';
import type { MachineClient } from './machine-client.ts';
import type { UploadClient } from './upload-client.ts';
import type { SnapshotClient } from './snapshot-client.ts';
import type { VolumeClient } from './volume-client.ts';

/** Bytes are written to it, messages are read from it; with back-pressure both ways. */
export interface MessageDuplex<T> extends Duplex {
  [Symbol.asyncIterator](): NodeJS.AsyncIterator<T>;
}

export interface LogPiece {
  readonly data: Uint8Array;
  /** Where it ends; absent from older agents. */
  readonly position?: string | undefined;
  readonly gap?: boolean | undefined;
}

/** See ConsoleOutput of berth/agent/v1/domain.proto. */
export interface ConsolePiece extends LogPiece {
  readonly notice?: string | undefined;
  readonly ended?: string | undefined;
}

export interface ConsoleWanted {
  readonly force: boolean;
  readonly session: string;
  readonly from: string | undefined;
}

export interface OperationView {
  readonly id: string;
  readonly state: 'running' | 'succeeded' | 'failed' | 'cancelled';
  readonly error: JobError | undefined;
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** A fetch that waits for `offerSource`. */
  readonly needsSource: boolean;
  /** Of a fetch: the host that served something else than the image, the last one. */
  readonly turnedAway?: { readonly hostId: string; readonly why: string };
  /** Of a fetch that goes on: the host that it reads from, where its agent tells that. */
  readonly sourceHostId?: string;
  readonly image: ImageOutcome | undefined;
  /** What was done, in words, where it has something to tell. */
  readonly detail?: string | undefined;
}

export interface ImageOutcome {
  readonly digest: string;
  readonly virtualSizeBytes: number;
  readonly fileBytes: number;
  readonly sourceDigest: string;
  /** Of an import: a CD-ROM's. */
  readonly medium?: boolean;
  /** Of a capture, which has no digest: stopped, frozen or crash-consistent. */
  readonly detail?: string;
}

export interface VolumeWanted {
  readonly volumeId: string;
  readonly vmId: string;
  readonly imageDigest: string | undefined;
  readonly sizeBytes: number;
  readonly format?: 'raw';
  readonly poolId?: string;
  /** Also while the image is being fetched: capability `clone.instant`. */
  readonly instant?: boolean;
  /** A copy, that rests on nothing: capability `clone.full`. Long. */
  readonly full?: boolean;
}

export interface SeedWanted {
  readonly instanceId: string;
  readonly hostname: string;
  readonly nics: readonly {
    readonly mac: string;
    readonly address: string | undefined;
    readonly gateway: string | undefined;
    readonly dns: readonly string[];
  }[];
  readonly sshKeys: readonly string[];
  readonly userData: string;
}

/** See GuestActions of berth/agent/v1/customize.proto; what is absent is left as it is. */
export interface CustomizeWanted {
  readonly volumeId: string;
  /** Empty: of a volume that no domain will ever have. */
  readonly domainUuid: string;
  readonly actions: {
    readonly hostname?: string;
    readonly nics?: SeedWanted['nics'];
    readonly sshKeys?: readonly string[];
    readonly sshUser?: string;
    readonly firstBoot?: string;
    readonly serialLogin?: boolean;
    readonly newMachineId?: boolean;
    readonly newHostKeys?: boolean;
    readonly generalize?: boolean;
  };
}

export interface DomainRef {
  readonly uuid: string;
  readonly vmId: string;
}

/** A domain as its host has it, read back into a spec. */
export interface DomainDescription {
  readonly wanted: DomainDefinition;
  readonly volumes: ReadonlyMap<string, { readonly sizeBytes: number; readonly imageDigest: string | undefined }>;
  /** In words, what was changed on the host since Berth made it. */
  readonly changes: readonly string[];
}

/** Of a guest that runs, until it is off. */
export type LiveChange =
  | { readonly vcpus: number }
  | { readonly memoryBytes: number }
  | { readonly target: string; readonly imageDigest: string | undefined; readonly force: boolean }
  | { readonly mac: string; readonly linkDown: boolean };

export interface AgentClient {
  /** The machine that the host is, not its VMs. */
  readonly machine: MachineClient;
  /** Capability `host.tuning`. */
  ensureTuning(operationId: string, settings: Tuning): Promise<OperationView>;
  readonly logs: LogClient;
  /** Capability `volume.data`. */
  readonly volumeData: VolumeClient<OperationView>;
  /** Capability `volume.upload`. */
  readonly uploaded: UploadClient<OperationView>;
  /** Capability `pool`. */
  readonly pools: PoolClient<OperationView>;
  /** Capability `networks`. */
  readonly networks: NetworkClient<OperationView>;
  /** Capability `snapshots`. */
  readonly snapshots: SnapshotClient<OperationView>;
  /** Capability `domain.describe`. */
  describeDomain(domain: DomainRef): Promise<DomainDescription>;
  ensureDomain(operationId: string, spec: DomainDefinition): Promise<OperationView>;
  startDomain(operationId: string, domain: DomainRef): Promise<OperationView>;
  shutdownDomain(operationId: string, domain: DomainRef): Promise<OperationView>;
  forceOffDomain(operationId: string, domain: DomainRef): Promise<OperationView>;
  removeDomain(operationId: string, domain: DomainRef): Promise<OperationView>;
  /** These four: capability `domain.power`. */
  rebootDomain(operationId: string, domain: DomainRef): Promise<OperationView>;
  resetDomain(operationId: string, domain: DomainRef): Promise<OperationView>;
  suspendDomain(operationId: string, domain: DomainRef): Promise<OperationView>;
  resumeDomain(operationId: string, domain: DomainRef): Promise<OperationView>;
  /** These two: capability `domain.save`. */
  saveDomain(operationId: string, domain: DomainRef): Promise<OperationView>;
  discardSaved(operationId: string, domain: DomainRef): Promise<OperationView>;
  /** Through the agent in the guest. Capability `guest.agent`. */
  askGuestPower(operationId: string, domain: DomainRef, action: 'shutdown' | 'reboot'): Promise<OperationView>;
  /** These two: capability `domain.input`. */
  injectNmi(operationId: string, domain: DomainRef): Promise<OperationView>;
  sendKeys(
    operationId: string,
    v: DomainRef & { readonly chords: readonly (readonly number[])[] },
  ): Promise<OperationView>;
  /** Capability `domain.live`. */
  changeLive(operationId: string, domain: DomainRef, change: LiveChange): Promise<OperationView>;
  ensureVolume(operationId: string, v: VolumeWanted): Promise<OperationView>;
  ensureSeed(operationId: string, v: { volumeId: string; vmId: string; seed: SeedWanted }): Promise<OperationView>;
  /** Capability `volume.customize`. */
  customizeVolume(operationId: string, v: CustomizeWanted): Promise<OperationView>;
  removeVolume(operationId: string, volumeId: string): Promise<OperationView>;
  /** Makes uploads of disks. Capability `image.capture`. */
  captureDisks(
    operationId: string,
    domain: DomainRef,
    disks: readonly { readonly target: string; readonly volumeId: string; readonly uploadId: string }[],
    snapshot?: string,
  ): Promise<OperationView>;
  /** Of a captured disk. Capability `upload.generalize`. */
  generalizeUpload(operationId: string, uploadId: string): Promise<OperationView>;
  /** Makes a file of an image, for `readExport`. Capability `image.export`. */
  makeExport(
    operationId: string,
    v: { readonly digest: string; readonly format: string; readonly exportId: string },
  ): Promise<OperationView>;
  /** Bytes and lengths of runs of zeros, from a position on. */
  readExport(v: { readonly exportId: string; readonly offset: number }, signal: AbortSignal): AsyncIterable<Piece>;
  importImage(operationId: string, v: { uploadId: string; format: string }): Promise<OperationView>;
  fetchImage(operationId: string, v: { digest: string; virtualSizeBytes: number }): Promise<OperationView>;
  removeImage(operationId: string, digest: string): Promise<OperationView>;
  ensureBridge(operationId: string, v: { name: string; addresses: readonly string[] }): Promise<OperationView>;
  removeBridge(operationId: string, name: string): Promise<OperationView>;

  offerSource(v: {
    operationId: string;
    peerHostId: string;
    peerAddress: string;
    ticket: string;
    /** Left for this one at once, though it answers. Capability `image.relay`. */
    replace?: boolean;
  }): Promise<void>;
  openExport(v: { digest: string; peerHostId: string }): Promise<{ readonly ticket: string; readonly address: string }>;
  /** Undefined when the agent has no record of it. */
  findOperation(operationId: string): Promise<OperationView | undefined>;
  cancelOperation(operationId: string): Promise<OperationView>;
  acknowledgeOperations(idPrefixes: readonly string[]): Promise<void>;
  /**
   * Sends `data`, a stream of pieces, into the host's staging area; resolves with the length received. Runs of zeros among the
   * pieces: capability `upload.zeros`.
   */
  upload(v: { uploadId: string; fileBytes: number; allocatedBytes: number }, data: Readable): Promise<number>;
  /** @param v.from position of an earlier piece: capability `console.resume`; older agents begin as if it were absent. */
  readSerialLog(
    v: { vmId: string; tailBytes: number; follow: boolean; from: string | undefined },
    signal: AbortSignal,
  ): AsyncIterable<LogPiece>;
  /** PNG, in pieces. Capability `domain.screenshot`. */
  takeScreenshot(domain: DomainRef, signal: AbortSignal): AsyncIterable<Uint8Array>;
  openConsole(domain: DomainRef & ConsoleWanted): MessageDuplex<ConsolePiece>;
  /** One connection to a display. Capability `display`. */
  openDisplay(domain: DomainRef & { kind: 'vnc' | 'spice' }): MessageDuplex<{ readonly data: Uint8Array }>;
}
