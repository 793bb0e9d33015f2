/**
 * An upload that goes on after a break: asks the host how much it has, sends the rest, as often as it takes, and ends with the SHA-256
 * of the whole file, which the host compares. Where the bytes come from is the caller's.
 */
import { createHash, type Hash } from 'node:crypto';
import type { OpenUploadResponse, SendRequest } from '@berth/proto/v1/upload.ts';
import { lengthOf, piecesOf, type Piece } from '@berth/shared/disk/pieces.ts';
import type { DiskSource } from '@berth/shared/disk/source.ts';
import { ClusterError, invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Api } from './api.ts';
import type { Context } from './context.ts';
import { paced } from './paced.ts';

export interface Sending {
  readonly jobId: string;
  readonly source: DiskSource;
  /** What the whole file must be, where that is known. */
  readonly sha256?: string | undefined;
  show(doneBytes: number): void;
}

const MOST_TRIES = 12;
const SLOWEST_RETRY_MS = 5_000;
const OPEN_MS = 120_000;
const CHUNK_BYTES = 256 * 1024;
const TAIL_BYTES = 16 * 2 ** 20;
/** So far apart, the hash is kept as it was, to go on from. */
const MARK_BYTES = 64 * 2 ** 20;

/** Resolves when the host has all of it, or has had it before. @throws what ended it, after some tries without a byte */
export async function upload(ctx: Context, api: Api, s: Sending): Promise<void> {
  const hashed = new Hashed(s.source);
  let most = 0;
  for (let failed = 0; ;) {
    try {
      const opened = await api.call(api.uploads, (c) => c.openUpload, { job: s.jobId }, OPEN_MS);
      const there = Number(opened.offset);
      if (there > most) failed = 0;
      most = Math.max(most, there);
      return await once(ctx, api, s, { ticket: opened.ticket, offset: await offsetIn(s.source, opened), hashed });
    } catch (e) {
      ctx.signal.throwIfAborted();
      // all has come, and the answer was lost; its job tells the rest
      if (isClusterError(e, 'NOT_FOUND')) return;
      if (!mayGoOn(e) || ++failed >= MOST_TRIES) throw e;
      await ctx.clock.sleep(Math.min(SLOWEST_RETRY_MS, 100 * 2 ** failed), ctx.signal);
    }
  }
}

export const mayGoOn = (e: unknown): boolean =>
  isClusterError(e, 'CONTROLLER_UNREACHABLE', 'HOST_UNREACHABLE', 'PEER_UNAVAILABLE', 'DEADLINE_EXCEEDED');

/** Where to go on; from the beginning when what is there is of another file. */
async function offsetIn(source: DiskSource, { offset, tailSha256 }: OpenUploadResponse): Promise<number> {
  const there = Number(offset);
  if (there === 0 || there > source.sizeBytes) return 0;
  const hash = createHash('sha256');
  for await (const bytes of chunks(source, Math.max(0, there - TAIL_BYTES), there)) hash.update(bytes);
  return hash.digest('hex') === tailSha256 ? there : 0;
}

interface Stream {
  readonly ticket: string;
  readonly offset: number;
  readonly hashed: Hashed;
}

async function once(ctx: Context, api: Api, s: Sending, { ticket, offset, hashed }: Stream): Promise<void> {
  await hashed.goTo(offset);
  const { sink, done } = api.send(ctx.signal);
  let over = false;
  const ended = done.finally(() => (over = true));
  ended.catch(() => {});
  const send = paced<SendRequest>(sink, ended);
  const write = (message: SendRequest['message']): Promise<void> => send({ message });
  try {
    await write({ $case: 'begin', value: { uploadId: s.jobId, ticket, offset: BigInt(offset) } });
    let at = offset;
    for await (const bytes of chunks(s.source, offset, s.source.sizeBytes)) {
      if (over) break;
      hashed.add(bytes);
      for (const piece of piecesOf(bytes)) await write(messageOf(piece));
      s.show((at += bytes.length));
    }
    if (!over) await write({ $case: 'end', value: { sha256: whole(s, hashed, at) } });
  } catch (e) {
    sink.cancel(); // what could not be read whole must not look whole there
    throw e;
  }
  sink.end();
  await ended;
}

function whole({ source, sha256 }: Sending, hashed: Hashed, at: number): string {
  if (at !== source.sizeBytes)
    throw invalidArgument(
      `${source.name} ended after ${at} of ${source.sizeBytes} bytes: it changed while it was sent`,
    );
  const found = hashed.digest();
  if (sha256 === undefined || found === sha256.toLowerCase()) return found;
  throw new ClusterError(
    'DIGEST_MISMATCH',
    `${source.name} is not what it should be: its sha256 is ${found}, and ${sha256} by --sha256. Copy it again`,
  );
}

const messageOf = (piece: Piece): SendRequest['message'] =>
  typeof piece === 'number'
    ? { $case: 'zeros', value: BigInt(lengthOf(piece)) }
    : { $case: 'data', value: Buffer.from(piece.buffer, piece.byteOffset, piece.length) };

async function* chunks(source: DiskSource, from: number, to: number): AsyncGenerator<Uint8Array> {
  for (let at = from; at < to;) {
    const bytes = await source.read(at, Math.min(CHUNK_BYTES, to - at));
    if (bytes.length === 0) return;
    at += bytes.length;
    yield bytes;
  }
}

/** The SHA-256 of a file as it is sent; who sends a part of it again need not read all that is before that. */
class Hashed {
  private readonly marks: { readonly at: number; readonly hash: Hash }[] = [{ at: 0, hash: createHash('sha256') }];
  private hash = createHash('sha256');
  private at = 0;

  constructor(private readonly source: DiskSource) {}

  /** As after the first so many bytes. */
  async goTo(offset: number): Promise<void> {
    while ((this.marks.at(-1)?.at ?? 0) > offset) this.marks.pop();
    const { at, hash } = this.marks.at(-1)!;
    this.hash = hash.copy();
    this.at = at;
    for await (const bytes of chunks(this.source, at, offset)) this.add(bytes);
  }

  add(bytes: Uint8Array): void {
    this.hash.update(bytes);
    this.at += bytes.length;
    if (this.at - (this.marks.at(-1)?.at ?? 0) >= MARK_BYTES) this.marks.push({ at: this.at, hash: this.hash.copy() });
  }

  digest = (): string => this.hash.copy().digest('hex');
}
