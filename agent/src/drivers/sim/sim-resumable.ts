/** Uploads of a simulated host that go on after a break: kept whole in memory, as long as the host lives. */
import { createHash } from 'node:crypto';
import { ClusterError, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { SimHost } from '@berth/shared/sim/sim-host.ts';
import { TAIL_BYTES, type ResumableSink, type ResumableUploads, type ResumedFile } from '../volume-work.ts';

const sha256 = (b: Buffer): string => createHash('sha256').update(b).digest('hex');

export const simResumable = (host: SimHost, mostBytes: number): ResumableUploads => ({
  async find(uploadId) {
    const whole = host.uploads.get(uploadId);
    const { bytes, ...of } = whole ? { bytes: whole } : (host.coming.get(uploadId) ?? { bytes: Buffer.alloc(0) });
    const tail = bytes.subarray(Math.max(0, bytes.length - TAIL_BYTES));
    return { receivedBytes: bytes.length, tailSha256: sha256(tail), whole: whole !== undefined, ...of };
  },
  async digest(uploadId) {
    const whole = host.uploads.get(uploadId);
    if (whole === undefined) throw notFound(`there is no finished upload ${uploadId} on this host; upload it again`);
    return sha256(whole);
  },
  async open(uploadId, file) {
    const there = host.coming.get(uploadId)?.bytes ?? Buffer.alloc(0);
    if (file.offset > there.length)
      throw invalidArgument(`upload ${uploadId} cannot go on at ${file.offset}: ${there.length} bytes of it are here`);
    if (file.fileBytes > mostBytes)
      throw invalidArgument(
        `a simulated host takes uploads of up to ${mostBytes} bytes, this one has ${file.fileBytes}`,
      );
    host.reserve((file.origin === undefined ? 2 : 1) * Math.min(file.fileBytes, file.allocatedBytes));
    return sink(host, uploadId, file, there.subarray(0, file.offset));
  },
});

function sink(host: SimHost, uploadId: string, { fileBytes, origin }: ResumedFile, there: Buffer): ResumableSink {
  const parts = [there];
  let at = there.length;
  const add = async (bytes: Buffer): Promise<void> => {
    if (at + bytes.length > fileBytes) throw invalidArgument(`more than the announced ${fileBytes} bytes came`);
    at += bytes.length;
    parts.push(bytes);
  };
  return {
    write: (chunk) => add(Buffer.from(chunk)), // the caller may use its buffer again
    skip: (bytes) => add(Buffer.alloc(Math.min(bytes, fileBytes + 1))),
    async finish(wanted) {
      if (at !== fileBytes) throw invalidArgument(`${at} of the announced ${fileBytes} bytes came; send the rest`);
      const all = Buffer.concat(parts.splice(0));
      host.coming.delete(uploadId);
      if (sha256(all) !== wanted.toLowerCase())
        throw new ClusterError('DIGEST_MISMATCH', 'what came is something else than was sent; nothing of it stays');
      host.uploads.set(uploadId, all);
    },
    async close() {
      if (parts.length > 0)
        host.coming.set(uploadId, { bytes: Buffer.concat(parts), ...(origin !== undefined && { origin }) });
    },
  };
}
