/** What is asked of a host about files that become volumes. Types only; grpc-upload-client.ts asks. Capability `volume.upload`. */
import type { Readable } from 'node:stream';
import type { VolumeFormat } from '@berth/shared/model/volume.ts';

export interface ArrivedUpload {
  readonly receivedBytes: number;
  /** SHA-256 (hex) of the last 16 MiB of them. */
  readonly tailSha256: string;
  /** All is there, and was right. */
  readonly whole: boolean;
}

export interface UploadPart {
  readonly uploadId: string;
  readonly fileBytes: number;
  readonly allocatedBytes: number;
  /** Where the first piece goes. */
  readonly offset: number;
}

export interface InstallVolume {
  readonly uploadId: string;
  readonly volumeId: string;
  /** Of the file; empty: find out. */
  readonly fileFormat: string;
  readonly format: VolumeFormat;
  /** 0: whatever it has. */
  readonly sizeBytes: number;
  /** Empty: the host's own folder. */
  readonly poolId: string;
}

/** @typeParam Op what tells of an operation. */
export interface UploadClient<Op> {
  /** Ends a stream that still brings some of it. */
  find(uploadId: string): Promise<ArrivedUpload>;
  /** Resolves when all of it is there, and right. @param data pieces @param ending its SHA-256, asked when the last piece has gone */
  send(part: UploadPart, data: Readable, ending: () => string): Promise<number>;
  /** Long. */
  install(operationId: string, v: InstallVolume): Promise<Op>;
}
