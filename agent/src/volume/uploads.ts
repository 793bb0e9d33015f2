/**
 * Uploads: a stream of bytes into the staging area. Broken off, nothing stays. Noted in the ledger, so that what a dead
 * agent or a cancelled job left is removed. Not the import that follows: that is images.ts.
 */
import { lengthOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError, badState, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import { Turns } from '@berth/shared/runtime/turns.ts';
import { Fuse } from '@berth/shared/runtime/fuse.ts';
import type { Disks } from '../drivers/disks.ts';
import { checkBytes, checkUploadId } from '../ids.ts';
import type { Ledger, LedgerEntry } from '../operations/ledger.ts';

export interface UploadBegin {
  readonly uploadId: string;
  readonly fileBytes: number;
  /** As far as is known: how much of it is not holes. */
  readonly allocatedBytes: number;
}

const KIND = '~upload';
export const MAX_FILE_BYTES = 2 ** 50;
/** `~` is no character of operation ids, but the id still begins with its job's. */
const keyOf = (uploadId: string): string => `${uploadId}.${KIND}`;
const idOf = (entry: LedgerEntry): string => entry.id.slice(0, -KIND.length - 1);

export class Uploads {
  private readonly active = new Map<string, { abort: AbortController; turns: Turns }>();

  constructor(
    private readonly disks: Disks,
    private readonly ledger: Ledger,
    private readonly log: Log,
    /** Whether an operation reads this upload now. */
    private readonly inUse: (uploadId: string) => boolean,
  ) {}

  /** Takes the bytes; resolves with their number. A second upload under the same id takes the place of the first. */
  async receive(begin: UploadBegin, pieces: AsyncIterable<Piece>, signal: AbortSignal): Promise<number> {
    const uploadId = checkUploadId(begin.uploadId);
    checkBytes('the file', begin.fileBytes, 1, MAX_FILE_BYTES);
    checkBytes('the allocated part of the file', begin.allocatedBytes, 0, MAX_FILE_BYTES);
    return this.alone(uploadId, signal, (either) => this.store(begin, pieces, either));
  }

  /** Runs `fn` as the only one who brings this upload: who did so before is ended first. A cancel of the upload ends this one. */
  async alone<T>(uploadId: string, signal: AbortSignal, fn: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const before = this.active.get(uploadId);
    before?.abort.abort(new ClusterError('CANCELLED', `upload ${uploadId} was begun anew`));
    const mine = { abort: new AbortController(), turns: before?.turns ?? new Turns(1) };
    this.active.set(uploadId, mine);
    const release = await mine.turns.take(signal);
    try {
      this.refuse(uploadId);
      return await fn(AbortSignal.any([signal, mine.abort.signal]));
    } finally {
      release();
      if (this.active.get(uploadId) === mine) this.active.delete(uploadId);
    }
  }

  /** Notes an upload that the host makes itself: it goes with its job, as one that somebody sent. */
  async keep(uploadId: string): Promise<void> {
    const entry = { id: keyOf(uploadId), kind: KIND, hash: '', request: undefined, failure: undefined, again: false };
    await this.ledger.put({ ...entry, image: undefined, state: 'succeeded' });
  }

  /** After a cancel of this id, and when its job is over: ends what runs and removes what is staged. */
  async discard(uploadId: string): Promise<void> {
    const running = this.active.get(uploadId);
    if (running) {
      running.abort.abort(new ClusterError('CANCELLED', `upload ${uploadId} was cancelled`));
      (await running.turns.take())();
    }
    if (this.ledger.get(keyOf(uploadId)) === undefined) return;
    await this.remove(uploadId);
    await this.ledger.drop(keyOf(uploadId));
  }

  /** For entries that the ledger has just forgotten. */
  async forget(entries: readonly LedgerEntry[]): Promise<void> {
    for (const e of entries) if (e.kind === KIND && !this.inUse(idOf(e))) await this.remove(idOf(e));
  }

  /** Removes what was being received when the agent ended. */
  async recover(): Promise<void> {
    for (const e of [...this.ledger.entries()]) {
      if (e.kind !== KIND || e.state !== 'running') continue;
      await this.remove(idOf(e));
      await this.ledger.drop(e.id);
    }
  }

  private refuse(uploadId: string): void {
    if (this.ledger.get(uploadId)?.state === 'cancelled')
      throw new ClusterError('CANCELLED', `upload ${uploadId} was cancelled`);
    if (this.inUse(uploadId)) throw badState(`upload ${uploadId} is being imported; it cannot be replaced now`);
  }

  private async store(begin: UploadBegin, pieces: AsyncIterable<Piece>, signal: AbortSignal): Promise<number> {
    const key = keyOf(begin.uploadId);
    const entry = {
      id: key,
      kind: KIND,
      hash: '',
      request: undefined,
      failure: undefined,
      again: false,
      image: undefined,
    };
    await this.ledger.put({ ...entry, state: 'running' });
    try {
      const received = await this.write(begin, pieces, signal);
      await this.ledger.putResult({ ...entry, state: 'succeeded' });
      return received;
    } catch (e) {
      await this.ledger.drop(key);
      throw e;
    }
  }

  private async write(begin: UploadBegin, pieces: AsyncIterable<Piece>, signal: AbortSignal): Promise<number> {
    const sink = await this.disks.openUpload(begin.uploadId, begin.fileBytes, begin.allocatedBytes || begin.fileBytes);
    try {
      let received = 0;
      for await (const piece of untilAborted(pieces, signal)) {
        received += lengthOf(piece);
        if (received > begin.fileBytes)
          throw invalidArgument(
            `upload ${begin.uploadId}: more bytes came than the ${begin.fileBytes} that were announced`,
          );
        await (typeof piece === 'number' ? sink.skip(piece) : sink.write(piece));
      }
      if (received < begin.fileBytes)
        throw invalidArgument(
          `upload ${begin.uploadId} ended after ${received} of ${begin.fileBytes} bytes; send it again`,
        );
      await sink.finish();
      return received;
    } catch (e) {
      await sink.abort().catch((err: unknown) => this.log.warn({ err }, 'a broken upload could not be removed'));
      throw e;
    }
  }

  private async remove(uploadId: string): Promise<void> {
    await this.disks
      .removeUpload(uploadId)
      .catch((err: unknown) => this.log.warn({ err, uploadId }, 'an upload could not be removed'));
  }
}

/** A sender that is silent must not hold up an abort. */
export async function* untilAborted<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  const fuse = new Fuse();
  const onAbort = (): void => fuse.burn(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  for (;;) {
    const next = await fuse.wait(iterator.next());
    if (next.done) return;
    yield next.value;
  }
}
