/** What a fake host does with files that become volumes: texts instead of disks, whole or not there. */
import type { Readable } from 'node:stream';
import type { OperationView } from '@berth/controller/hosts/agent-client.ts';
import type { UploadClient } from '@berth/controller/hosts/upload-client.ts';
import { bytesOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { FakeParts, Operate } from './fake-volumes.ts';

type Call = <T>(fn: () => T) => Promise<T>;

/** Those that begin with `text` are no disks. */
export const fakeUploads = (
  host: Pick<FakeParts, 'volumes' | 'uploads' | 'diskFull'>,
  operate: Operate,
  call: Call,
  isCancelled: (uploadId: string) => boolean,
): UploadClient<OperationView> => ({
  find: (uploadId) =>
    call(() => {
      const file = host.uploads.get(uploadId);
      return { receivedBytes: file?.length ?? 0, tailSha256: '', whole: file !== undefined };
    }),
  async send(part, data: Readable) {
    const chunks: Uint8Array[] = [];
    for await (const bytes of bytesOf(data as AsyncIterable<Piece>)) chunks.push(bytes);
    return call(() => {
      if (isCancelled(part.uploadId)) throw new ClusterError('CANCELLED', 'the upload was cancelled');
      if (host.diskFull) throw new ClusterError('DISK_FULL', 'the pool is full');
      host.uploads.set(part.uploadId, Buffer.concat(chunks).toString());
      return part.fileBytes;
    });
  },
  install: (id, v) =>
    operate(id, ['installVolume', v], () => {
      const file = host.uploads.get(v.uploadId);
      if (file === undefined) throw new ClusterError('NOT_FOUND', 'the upload is not there');
      if (file.startsWith('text')) throw new ClusterError('UNSAFE_IMAGE', 'it looks like text');
      if (host.diskFull) throw new ClusterError('DISK_FULL', 'the pool is full');
      host.uploads.delete(v.uploadId);
      const sizeBytes = v.sizeBytes || 2 ** 30;
      const at = { ...(v.format === 'raw' && { format: v.format }), ...(v.poolId !== '' && { poolId: v.poolId }) };
      host.volumes.set(v.volumeId, { vmId: '', sizeBytes, imageDigest: undefined, seed: false, ...at });
      return { digest: '', virtualSizeBytes: sizeBytes, fileBytes: file.length, sourceDigest: 'sum' };
    }),
});
