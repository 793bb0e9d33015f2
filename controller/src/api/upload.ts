/** UploadService: files that become volumes, relayed to the host that receives them. Stores nothing. */
import { Readable } from 'node:stream';
import type { SendRequest, UploadedFile, UploadServiceService } from '@berth/proto/v1/upload.ts';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { PIECES_AHEAD } from '../app/relay.ts';
import type { UploadBegun, VolumeUploads } from '../app/volume-uploads.ts';
import type { Handlers } from './call.ts';
import { fromWire, toWire } from './numbers.ts';
import { toVolume } from './volume.ts';

export const uploadHandlers = (uploads: VolumeUploads): Handlers<UploadServiceService> => ({
  uploadVolume: async (r, call) => toAnswer(await uploads.begin({ ...r, file: fileOf(r.file) }, call.user)),
  replaceVolume: async (r, call) => {
    const { volume, format } = r;
    return toAnswer(await uploads.replace(volume, { file: fileOf(r.file), format }, call.user));
  },
  openUpload: async (r, call) => {
    const { offset, ...opened } = await uploads.open(r.job, call.user);
    return { ...opened, offset: toWire(offset) };
  },
  send: async (messages, call) => {
    const all = messages[Symbol.asyncIterator]();
    const first = await all.next();
    const begin = first.done === true ? undefined : first.value.message;
    if (begin?.$case !== 'begin') throw invalidArgument('an upload begins with its ticket');
    const { uploadId: jobId, ticket, offset, sha256 = '' } = begin.value;
    const sent = new Sent(all, call.signal, sha256);
    const data = Readable.from(sent.pieces(), { highWaterMark: PIECES_AHEAD });
    const about = { jobId, ticket, offset: fromWire('offset', offset) };
    return { receivedBytes: toWire(await uploads.send(about, data, () => sent.sha256, call.user)) };
  },
});

/** What follows the beginning: pieces, then the hash of all, where that was not said before. */
class Sent {
  #ended = false;

  constructor(
    private readonly messages: AsyncIterator<SendRequest>,
    private readonly signal: AbortSignal,
    private said: string,
  ) {}

  get sha256(): string {
    return this.said;
  }

  /** A caller that hangs up in the middle makes the stream fail, not end; so does one that says no hash. */
  async *pieces(): AsyncGenerator<Piece> {
    for (;;) {
      const next = await this.messages.next();
      if (this.signal.aborted) throw new ClusterError('CANCELLED', 'the sender hung up');
      if (next.done === true) return this.insistHash();
      const { message } = next.value;
      if (this.#ended) throw invalidArgument('nothing follows the end of an upload');
      if (message?.$case === 'data') yield message.value;
      else if (message?.$case === 'zeros' && message.value > 0n) yield fromWire('zeros', message.value);
      else if (message?.$case === 'end') {
        this.#ended = true;
        this.said = message.value.sha256;
      } else throw invalidArgument('an upload has one beginning, then data and runs of zeros, and one end');
    }
  }

  private insistHash(): void {
    if (!/^[0-9a-f]{64}$/.test(this.said))
      throw invalidArgument('an upload ends with the SHA-256 of the whole file: 64 hexadecimal digits');
  }
}

function fileOf(f: UploadedFile | undefined) {
  if (f === undefined) throw invalidArgument('which file? Its length is missing');
  const [fileBytes, sizeBytes] = [fromWire('file_bytes', f.fileBytes), fromWire('size_bytes', f.sizeBytes)];
  return { fileBytes, sizeBytes, allocatedBytes: fromWire('allocated_bytes', f.allocatedBytes), format: f.format };
}

const toAnswer = ({ view, jobId, resumed }: UploadBegun) => ({ volume: toVolume(view), jobId, resumed });
