/**
 * The file of a volume on the wire between two hosts: a line that says how long it is, and from where on it comes, then its pieces in
 * frames, then a hash of the whole file, without which it is not whole. Who has some of it already asks for the rest: it is given while
 * the file is the one that it was then, and comes from its beginning otherwise.
 *
 *   D <u32 length> bytes    Z <u64 length> zeros    W nothing yet: what is there already is being read    E <SHA-256 of the file>
 */
import type { Readable } from 'node:stream';
import { lengthOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { VolumeFile } from '../drivers/volume-work.ts';
import { PieceHash } from './piece-hash.ts';
import type { GoOnFrom } from './ticket-line.ts';

const [DATA, ZEROS, WAIT, END] = [0x44, 0x5a, 0x57, 0x45];
const MAX_DATA_BYTES = 4 * 2 ** 20;
const MAX_LINE_BYTES = 256;
const MAX_FILE_BYTES = 2 ** 50;
/** Frames are of 64 KiB and more, but for a few that a read cut short. */
const USUAL_BYTES = 4_096;
const SMALL_FRAMES = 1_000;
/** Of what is read again: slow storage gives as much before the other host finds this one silent. */
const WAIT_EVERY_BYTES = 64 * 2 ** 20;

export async function* volumeFrames(file: VolumeFile, from: GoOnFrom, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const { fileBytes, allocatedBytes, origin } = file;
  const goesOn = origin !== undefined && origin === from.origin && from.offset <= fileBytes;
  const offset = goesOn ? from.offset : 0;
  yield Buffer.from(`${JSON.stringify({ fileBytes, allocatedBytes, offset, origin })}\n`);
  const hash = new PieceHash();
  yield* readAgain(file, offset, hash, signal);
  for await (const piece of file.pieces(signal, offset)) {
    yield headOf(piece);
    await hash.add(piece);
    if (typeof piece !== 'number') yield piece;
  }
  yield Buffer.concat([Buffer.from([END]), hash.digest()]);
}

/** What the other host has already is in the hash all the same: so it is known to be of this file. */
async function* readAgain(
  file: VolumeFile,
  bytes: number,
  hash: PieceHash,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  if (bytes === 0) return;
  let [at, told] = [0, 0];
  for await (const piece of file.pieces(signal)) {
    const left = bytes - at;
    const mine = typeof piece === 'number' ? Math.min(piece, left) : piece.subarray(0, left);
    await hash.add(mine);
    at += lengthOf(mine);
    if (at >= bytes) return;
    if (at - told < WAIT_EVERY_BYTES) continue;
    told = at;
    yield Buffer.from([WAIT]);
  }
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

/** What another host sends, from somewhere on. */
export interface ReceivedVolume extends GoOnFrom {
  readonly fileBytes: number;
  readonly allocatedBytes: number;
  /** Can be read once. @throws PEER_UNAVAILABLE when it breaks off, falls silent or makes no sense */
  pieces(): AsyncIterable<Piece>;
  /** Of the whole file (hex), as the other host says, when all pieces have been read. */
  sha256(): string;
}

/** @throws as its pieces */
export async function receivedVolume(stream: Readable, clock: Clock, silentMs: number): Promise<ReceivedVolume> {
  const bytes = new Bytes(stream, clock, silentMs);
  const about = aboutIn(await bytes.line());
  let sha256 = '';
  return {
    ...about,
    pieces: () => piecesIn(bytes, about, (end) => (sha256 = end)),
    sha256: () => sha256,
  };
}

type About = Omit<ReceivedVolume, 'pieces' | 'sha256'>;

function aboutIn(line: string): About {
  const fits = (n: unknown, most = MAX_FILE_BYTES): n is number =>
    Number.isSafeInteger(n) && (n as number) >= 0 && (n as number) <= most;
  try {
    const { fileBytes, allocatedBytes, offset, origin } = JSON.parse(line) as Record<string, unknown>;
    const isWord = typeof origin === 'string' && /^[0-9a-f]{16,64}$/.test(origin);
    if (fits(fileBytes) && fits(allocatedBytes) && fits(offset, fileBytes) && (isWord || origin === undefined))
      return { fileBytes, allocatedBytes, offset, origin: isWord ? origin : undefined };
  } catch {
    // told below
  }
  throw odd('said nothing of its length that makes sense');
}

/** Not more than was said, and not in crumbs, each of which costs as much as a large one. */
async function* piecesIn(
  bytes: Bytes,
  { fileBytes, offset }: About,
  ended: (sha256: string) => void,
): AsyncGenerator<Piece> {
  let at = offset;
  for (let frames = 0; ; frames++) {
    const kind = (await bytes.take(1))[0];
    if (frames > SMALL_FRAMES + at / USUAL_BYTES) throw odd('makes no sense');
    if (kind === WAIT) continue;
    if (kind === END) {
      const hash = await bytes.take(32);
      if (at !== fileBytes) throw odd('is shorter than was said');
      return ended(hash.toString('hex'));
    }
    if (kind !== DATA && kind !== ZEROS) throw odd('makes no sense');
    const length = await bytes.take(kind === DATA ? 4 : 8);
    const long = kind === ZEROS ? Number(length.readBigUInt64BE()) : length.readUInt32BE();
    at += long;
    if (at > fileBytes) throw odd('is longer than was said');
    if (kind === DATA && long > MAX_DATA_BYTES) throw odd('makes no sense');
    yield kind === ZEROS ? long : await bytes.take(long);
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
