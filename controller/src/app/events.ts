/** Events for people and scripts: a page of the past, and following along without gaps. */
import type { Event } from '@berth/shared/model/event.ts';
import type { State } from '../state/state.ts';

const PAGE = 500;
/** What a slow reader may be behind in memory; beyond that it reads from history again. */
const QUEUE = 1_000;
const MOST = 5_000;

export interface Followed {
  readonly event: Event;
  /** Where a watch goes on that has seen this event and no more: all events of a revision, or none, have been seen there. */
  readonly resumeAfter: number;
}

export class Events {
  constructor(private readonly state: State) {}

  /** @param keep only these; then looks at so many as may be asked for at once, and no further. */
  async list(
    q: { limit: number; afterRevision: number; subject: string },
    keep?: (e: Event) => boolean,
  ): Promise<readonly Event[]> {
    const limit = Math.min(q.limit || 100, MOST);
    const found = await this.#read(q, keep ? MOST : limit);
    if (keep === undefined) return found;
    const kept = found.filter(keep);
    return q.afterRevision > 0 ? kept : kept.slice(-limit);
  }

  #read(q: { afterRevision: number; subject: string }, limit: number): Promise<readonly Event[]> {
    return this.state.events({
      limit,
      ...(q.afterRevision > 0 ? { afterRevision: q.afterRevision } : {}),
      ...(q.subject === '' ? {} : { subject: q.subject }),
    });
  }

  /** Events after a revision (0: only new ones), each once, in order, until `signal` aborts. */
  async *watch(afterRevision: number, signal: AbortSignal): AsyncGenerator<Followed> {
    const follower = new Follower(this.state, signal);
    try {
      // one that is still to come was never given out here: whoever has it must not wait until it is reached
      const known = afterRevision > 0 && afterRevision <= this.state.durableRevision;
      let last = known ? afterRevision : this.state.durableRevision;
      if (known) follower.behind = true;
      while (!signal.aborted) {
        while (follower.behind) {
          follower.behind = false;
          for await (const followed of this.past(last)) {
            last = followed.event.revision;
            yield followed;
          }
        }
        const news = follower.take().filter((e) => e.revision > last);
        yield* followable(news);
        last = news.at(-1)?.revision ?? last;
        await follower.more();
      }
    } finally {
      follower.stop();
    }
  }

  /** All of a revision or nothing of it, so that the last revision read is always a good place to go on. */
  private async *past(after: number): AsyncGenerator<Followed> {
    for (let from = after; ;) {
      const page = await this.state.events({ afterRevision: from, limit: PAGE });
      const last = page.at(-1)?.revision;
      if (last === undefined) return;
      const full = page.length === PAGE && page[0]?.revision !== last;
      const whole = full ? page.filter((e) => e.revision !== last) : page;
      yield* followable(whole);
      if (page.length < PAGE) return;
      from = whole.at(-1)?.revision ?? last;
    }
  }
}

/** @param whole events of whole revisions, in order. */
const followable = (whole: readonly Event[]): Followed[] =>
  whole.map((event, i) => ({
    event,
    resumeAfter: whole[i + 1]?.revision === event.revision ? event.revision - 1 : event.revision,
  }));

/** Collects new events; when its reader is too slow it forgets them and says so. */
class Follower {
  behind = false;
  private queue: Event[] = [];
  private wake: (() => void) | undefined;
  private readonly unsubscribe: () => void;

  constructor(
    state: State,
    private readonly signal: AbortSignal,
  ) {
    this.unsubscribe = state.subscribe((change) => this.put(change.events));
    signal.addEventListener('abort', () => this.wake?.(), { once: true });
  }

  take(): readonly Event[] {
    const taken = this.queue;
    this.queue = [];
    return taken;
  }

  more(): Promise<void> {
    if (this.queue.length > 0 || this.behind || this.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => (this.wake = resolve));
  }

  stop(): void {
    this.unsubscribe();
    this.queue = [];
  }

  private put(events: readonly Event[]): void {
    if (events.length === 0) return;
    if (this.queue.length + events.length > QUEUE) {
      this.behind = true;
      this.queue = [];
    } else if (!this.behind) this.queue.push(...events);
    this.wake?.();
  }
}
