/**
 * What is known of the copies of images that are under way: who reads from whom, how far each is and how fast. Told by the jobs
 * that copy, while they look at their hosts; in memory only, and forgotten when nobody has told it for a while. swarm.ts
 * decides by it.
 */
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import type { Member } from './swarm.ts';

/** A job looks at its host every two seconds, at the slowest every five. */
const FORGOTTEN_MS = 15_000;
/** A speed is measured over at least so long. */
const SPAN_MS = 2_000;

interface Seen {
  readonly from: HostId | undefined;
  readonly doneBytes: number;
  readonly bytesPerSecond: number | undefined;
  /** Where the measurement of its speed begins. */
  readonly mark: { readonly atMs: number; readonly bytes: number };
  readonly atMs: number;
}

export class Swarms {
  readonly #images = new Map<ImageId, Map<HostId, Seen>>();

  /** It reads from this host from now on; undefined: from nobody. */
  feed(imageId: ImageId, hostId: HostId, from: HostId | undefined, atMs: number): void {
    const doneBytes = this.#find(imageId, hostId)?.doneBytes ?? 0;
    this.#put(imageId, hostId, { from, doneBytes, bytesPerSecond: undefined, mark: { atMs, bytes: doneBytes }, atMs });
  }

  /** It is so far. Of one that was not known, nobody knows whom it reads from. */
  progress(imageId: ImageId, hostId: HostId, doneBytes: number, atMs: number): void {
    const before = this.#find(imageId, hostId);
    const { from, mark } = before ?? { from: undefined, mark: { atMs, bytes: doneBytes } };
    const spanMs = atMs - mark.atMs;
    const measured = spanMs >= SPAN_MS ? ((doneBytes - mark.bytes) / spanMs) * 1_000 : undefined;
    this.#put(imageId, hostId, {
      ...{ from, doneBytes, atMs },
      bytesPerSecond: measured ?? before?.bytesPerSecond,
      mark: measured === undefined ? mark : { atMs, bytes: doneBytes },
    });
  }

  leave(imageId: ImageId, hostId: HostId): void {
    const members = this.#images.get(imageId);
    members?.delete(hostId);
    if (members?.size === 0) this.#images.delete(imageId);
  }

  /** @param relays whether a host can pass on what it has while it copies. */
  members(imageId: ImageId, nowMs: number, relays: (hostId: HostId) => boolean): ReadonlyMap<HostId, Member> {
    const members = new Map<HostId, Member>();
    for (const [hostId, seen] of this.#images.get(imageId) ?? []) {
      if (nowMs - seen.atMs > FORGOTTEN_MS) this.leave(imageId, hostId);
      else {
        const { from, doneBytes, bytesPerSecond } = seen;
        members.set(hostId, { hostId, from, doneBytes, bytesPerSecond, relays: relays(hostId) });
      }
    }
    return members;
  }

  #find(imageId: ImageId, hostId: HostId): Seen | undefined {
    return this.#images.get(imageId)?.get(hostId);
  }

  #put(imageId: ImageId, hostId: HostId, seen: Seen): void {
    const members = this.#images.get(imageId) ?? new Map<HostId, Seen>();
    this.#images.set(imageId, members.set(hostId, seen));
  }
}
