/**
 * The file of a volume on the wire between two hosts: a line that says how long it is, then its pieces in frames, then a hash of them
 * all, without which it is not whole.
 *
 *   D <u32 length> bytes    Z <u64 length> zeros    E <SHA-256 of all frames before>
 */
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { VolumeFile } from '../drivers/volume-work.ts';

const [DATA, ZEROS, END] = [0x44, 0x5a, 0x45];
const MAX_DATA_BYTES = 4 * 2 ** 20;
const MAX_LINE_BYTES = 256;
const MAX_FILE_BYTES = 2 ** 50;
/** Frames are of 64 KiB and more, but for a few that a read cut short. */
const USUAL_BYTES = 4_096;
const SMALL_FRAMES = 1_000;

export async function* volumeFrames(file: VolumeFile, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const { fileBytes, allocatedBytes } = file;
  yield Buffer.from(`${JSON.stringify({ fileBytes, allocatedBytes })}\n`);
  const hash = createHash('sha256');
  for await (const piece of file.pieces(signal)) {
    const head = headOf(piece);
    hash.update(head);
    yield head;
    if (typeof piece === 'number') continue;
    hash.update(piece);
    yield piece;
  }
  yield Buffer.concat([Buffer.from([END]), hash.digest()]);
}

function headOf(piece: Piece): Buffer {
  const head = Buffer.alloc(typeof piece === 'number' ? 9 : 5);
  if (typeof piece === 'number') {
    head[0] = ZEROS;
    head.writeBigUInt64BE(BigInt(piece), 1);
  } else {
    head[0] = DATA;
    head.writeUInt32BE(piece.length, 1);
  }
  return head;
}

/** What another host sends. Its pieces can be read once. @throws PEER_UNAVAILABLE when it breaks off, falls silent or makes no sense */
export async function receivedVolume(stream: Readable, clock: Clock, silentMs: number): Promise<VolumeFile> {
  const bytes = new Bytes(stream, clock, silentMs);
  const line = await bytes.line();
  const { fileBytes, allocatedBytes } = numbersIn(line);
  return { fileBytes, allocatedBytes, pieces: () => piecesIn(bytes, fileBytes) };
}

function numbersIn(line: string): { fileBytes: number; allocatedBytes: number } {
  const fits = (n: unknown): n is number =>
    Number.isSafeInteger(n) && (n as number) >= 0 && (n as number) <= MAX_FILE_BYTES;
  try {
    const { fileBytes, allocatedBytes } = JSON.parse(line) as Record<string, unknown>;
    if (fits(fileBytes) && fits(allocatedBytes)) return { fileBytes, allocatedBytes };
  } catch {
    // told below
  }
  throw odd('said nothing of its length that makes sense');
}

/** Not more than was said, and not in crumbs, each of which costs as much as a large one. */
async function* piecesIn(bytes: Bytes, fileBytes: number): AsyncGenerator<Piece> {
  const hash = createHash('sha256');
  let at = 0;
  for (let frames = 0; ; frames++) {
    const kind = await bytes.take(1);
    if (kind[0] === END) {
      if (!(await bytes.take(32)).equals(hash.digest())) throw odd('is not what was sent');
      return;
    }
    if (kind[0] !== DATA && kind[0] !== ZEROS) throw odd('makes no sense');
    const length = await bytes.take(kind[0] === DATA ? 4 : 8);
    hash.update(kind).update(length);
    const long = kind[0] === ZEROS ? Number(length.readBigUInt64BE()) : length.readUInt32BE();
    at += long;
    if (at > fileBytes) throw odd('is longer than was said');
    if (frames > SMALL_FRAMES + at / USUAL_BYTES) throw odd('makes no sense');
    if (kind[0] === ZEROS) {
      yield long;
      continue;
    }
    if (long > MAX_DATA_BYTES) throw odd('makes no sense');
    const data = await bytes.take(long);
    hash.update(data);
    yield data;
  }
}

const odd = (what: string): ClusterError => new ClusterError('PEER_UNAVAILABLE', `the volume that came ${what}`);

/** So many bytes at a time, of a stream that must not fall silent. */
class Bytes {
  private readonly chunks: AsyncIterator<Buffer>;
  private have: Buffer = Buffer.alloc(0);

  constructor(
    private readonly stream: Readable,
    private readonly clock: Clock,
    private readonly silentMs: number,
  ) {
    this.chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  async take(length: number): Promise<Buffer> {
    if (this.have.length < length) {
      const parts = [this.have];
      for (let n = this.have.length; n < length; n += parts.at(-1)!.length) parts.push(await this.next());
      this.have = Buffer.concat(parts);
    }
    const taken = this.have.subarray(0, length);
    this.have = this.have.subarray(length);
    return taken;
  }

  async line(): Promise<string> {
    while (!this.have.includes(0x0a)) {
      if (this.have.length > MAX_LINE_BYTES) throw odd('makes no sense');
      this.have = Buffer.concat([this.have, await this.next()]);
    }
    const end = this.have.indexOf(0x0a);
    return (await this.take(end + 1)).toString('latin1');
  }

  private async next(): Promise<Buffer> {
    const timer = this.clock.after(this.silentMs, () =>
      this.stream.destroy(new Error(`it has said nothing for ${this.silentMs / 1_000} s`)),
    );
    try {
      const { done, value } = await this.chunks.next();
      if (!done) return value;
    } catch (e) {
      throw new ClusterError('PEER_UNAVAILABLE', `the other host broke off: ${e instanceof Error ? e.message : e}`);
    } finally {
      timer.cancel();
    }
    throw new ClusterError('PEER_UNAVAILABLE', 'the other host broke off');
  }
}
