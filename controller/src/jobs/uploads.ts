/**
 * Uploads, and downloads of exports, that this process relays at the moment, so that their jobs know whether bytes still move. An
 * upload goes by its image, a download by its job. In memory
 * only: after a restart of the controller the host alone knows what it has received. Moves no bytes itself.
 */
import type { Reason } from '@berth/shared/errors/reasons.ts';
import type { ImageId, JobId } from '@berth/shared/model/ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';

export interface Upload {
  /** `paused`: it goes on with another stream. */
  readonly state: 'active' | 'received' | 'broken' | 'paused';
  readonly doneBytes: number;
  /** When the last bytes came. */
  readonly atMs: number;
  readonly why: string;
  /** Of one that is broken. */
  readonly reason?: Reason;
}

/** The longest that an import may take; its ticket is worth nothing afterwards. */
const KEPT_MS = 24 * 3_600_000;

export class Uploads {
  readonly #byImage = new Map<ImageId | JobId, Upload>();
  /** An import that began before has lost whoever sent its bytes. */
  readonly sinceMs: number;

  constructor(private readonly clock: Clock) {
    this.sinceMs = clock.now();
  }

  seen(imageId: ImageId | JobId): Upload | undefined {
    return this.#byImage.get(imageId);
  }

  /** False when it was begun before: a ticket is good for one upload. */
  begin(imageId: ImageId | JobId): boolean {
    if (this.#byImage.has(imageId)) return false;
    const oldMs = this.clock.now() - KEPT_MS;
    for (const [id, u] of this.#byImage) if (u.atMs < oldMs) this.#byImage.delete(id);
    this.#put(imageId, 'active', 0, '');
    return true;
  }

  advance(imageId: ImageId | JobId, doneBytes: number): void {
    this.#put(imageId, 'active', doneBytes, '');
  }

  received(imageId: ImageId | JobId, doneBytes: number): void {
    this.#put(imageId, 'received', doneBytes, '');
  }

  broken(imageId: ImageId | JobId, why: string, reason?: Reason): void {
    this.#put(imageId, 'broken', 0, why, reason);
  }

  paused(jobId: JobId): void {
    this.#put(jobId, 'paused', this.#byImage.get(jobId)?.doneBytes ?? 0, '');
  }

  #put(id: ImageId | JobId, state: Upload['state'], doneBytes: number, why: string, reason?: Reason): void {
    this.#byImage.set(id, { state, doneBytes, atMs: this.clock.now(), why, ...(reason && { reason }) });
  }
}
