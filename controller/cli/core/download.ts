/**
 * A download by ticket: the bytes of a file that a host made, in order, gone on with after a break, and checked against its SHA-256 at
 * the end. Where they go is the caller's.
 */
import { createHash, type Hash } from 'node:crypto';
import type { DownloadBegin } from '@berth/proto/v1/export.ts';
import { lengthOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Api } from './api.ts';
import type { Context } from './context.ts';

export interface Download {
  readonly jobId: string;
  readonly ticket: string;
}

/** What the file is, before its bytes; then these. */
export interface DownloadSink {
  begin(file: {
    readonly fileBytes: number;
    readonly sha256: string;
    readonly virtualSizeBytes: number;
  }): Promise<void>;
  /** A run of zeros as its length. */
  write(piece: Piece): Promise<void>;
  /** What it has already of a try before, from the beginning. */
  had?(): AsyncIterable<Piece>;
  /** What it had was something else: it has nothing now. */
  again?(): Promise<void>;
}

const MOST_TRIES = 6;
const ZEROS = Buffer.alloc(1024 * 1024);

/**
 * @param begin what is left of a try before is looked at first, which takes long where there is much: a file that nobody fetches goes
 * @throws what ended it, after some tries; DIGEST_MISMATCH
 */
export async function download(
  ctx: Context,
  api: Api,
  begin: () => Promise<Download>,
  sink: DownloadSink,
): Promise<void> {
  const fetching = new Fetching(ctx, api, sink);
  await fetching.goOn();
  const d = await begin();
  for (let failed = 0; !(await fetching.isRight());) {
    const before = fetching.at;
    try {
      await fetching.once(d);
    } catch (e) {
      ctx.signal.throwIfAborted();
      failed = fetching.at > before ? 1 : failed + 1;
      if (!mayPass(e) || failed >= MOST_TRIES) throw e;
      await ctx.clock.sleep(Math.min(5_000, 200 * 2 ** failed), ctx.signal);
    }
  }
  fetching.check();
  await api.call(api.exports, (c) => c.finishDownload, d);
}

class Fetching {
  at = 0;
  private file: DownloadBegin | undefined;
  private hash = createHash('sha256');
  /** What a try before has left is part of it. */
  private resumed = false;

  constructor(
    private readonly ctx: Context,
    private readonly api: Api,
    private readonly sink: DownloadSink,
  ) {}

  get isWhole(): boolean {
    return this.file !== undefined && this.at >= Number(this.file.fileBytes);
  }

  /** Goes on with what a try before has left. */
  async goOn(): Promise<void> {
    if (!this.sink.had) return;
    for await (const piece of this.sink.had()) {
      this.ctx.signal.throwIfAborted();
      addTo(this.hash, piece);
      this.at += lengthOf(piece);
    }
    this.resumed = this.at > 0;
  }

  /** Whole, and what it should be; what was left of another file is given up, and all of it fetched. */
  async isRight(): Promise<boolean> {
    if (!this.isWhole) return false;
    if (!this.resumed || (this.at === Number(this.file?.fileBytes) && this.found() === this.file?.sha256)) return true;
    this.resumed = false;
    this.hash = createHash('sha256');
    this.at = 0;
    await this.sink.again?.();
    return false;
  }

  private found = (): string => this.hash.copy().digest('hex');

  /** From where it is, as far as it comes. */
  async once(d: Download): Promise<void> {
    const { api, ctx } = this;
    const request = { ...d, offset: BigInt(this.at) };
    for await (const { message } of api.stream(api.exports, (c) => c.download, request, ctx.signal)) {
      if (message?.$case === 'begin') this.file = await begun(this.file, message.value, this.sink);
      // what a try before has left is longer than all of it
      if (this.resumed && this.isWhole) return;
      if (message?.$case === 'data') await this.take(message.value);
      else if (message?.$case === 'zeros') await this.take(Number(message.value));
    }
    ctx.signal.throwIfAborted();
    if (!this.isWhole) throw new ClusterError('PEER_UNAVAILABLE', 'the download broke off');
  }

  /** @throws DIGEST_MISMATCH */
  check(): void {
    const found = this.found();
    const wanted = this.file?.sha256 ?? '';
    if (found !== wanted)
      throw new ClusterError(
        'DIGEST_MISMATCH',
        `what came is something else (sha256 ${found} instead of ${wanted}). Try again`,
      );
  }

  private async take(piece: Piece): Promise<void> {
    addTo(this.hash, piece);
    await this.sink.write(piece);
    this.at += lengthOf(piece);
  }
}

function addTo(hash: Hash, piece: Piece): void {
  if (typeof piece !== 'number') hash.update(piece);
  else
    for (let left = piece; left > 0; left -= ZEROS.length) hash.update(ZEROS.subarray(0, Math.min(left, ZEROS.length)));
}

async function begun(
  before: DownloadBegin | undefined,
  now: DownloadBegin,
  sink: DownloadSink,
): Promise<DownloadBegin> {
  if (before && before.sha256 !== now.sha256)
    throw new ClusterError('DIGEST_MISMATCH', 'the file changed while it was fetched');
  if (!before)
    await sink.begin({
      fileBytes: Number(now.fileBytes),
      sha256: now.sha256,
      virtualSizeBytes: Number(now.virtualSizeBytes),
    });
  return now;
}

const mayPass = (e: unknown): boolean =>
  isClusterError(e, 'CONTROLLER_UNREACHABLE', 'HOST_UNREACHABLE', 'PEER_UNAVAILABLE', 'DEADLINE_EXCEEDED');
