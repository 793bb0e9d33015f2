/**
 * Attempts that came to nothing, on their way to the audit log. The first of a kind is written at once; those like it within
 * a minute are counted, and become one row; so are all beyond what a minute may bring. Whoever knocks a million times
 * makes a handful of rows. Writes nothing itself.
 */
import type { AuditEntry } from '@berth/shared/model/audit.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';

export type Attempt = Omit<AuditEntry, 'atMs' | 'jobId' | 'before' | 'after'>;

const WINDOW_MS = 60_000;
/** Kinds that are told apart within a window; the rest share one row for each outcome. */
const MOST_KINDS = 100;
const LONGEST_TEXT = 300;

export class Refusals {
  readonly #more = new Map<string, { readonly first: Attempt; count: number }>();
  #timer: Timer | undefined;

  constructor(
    private readonly clock: Pick<Clock, 'after'>,
    private readonly write: (a: Attempt) => void,
  ) {}

  add(given: Omit<Attempt, 'count'>): void {
    const one = clipped(given);
    const key = JSON.stringify([one.user, one.peer, one.method, one.object, one.reason]);
    const known = this.#more.get(key);
    if (known) known.count++;
    else if (this.#more.size < MOST_KINDS) this.#begin(key, one);
    else this.#addToOthers(one);
    this.#timer ??= this.clock.after(WINDOW_MS, () => this.flush());
  }

  /** Writes what was only counted so far. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const all = [...this.#more.values()];
    this.#more.clear();
    for (const { first, count } of all) if (count > 0) this.write({ ...first, count });
  }

  #begin(key: string, first: Attempt): void {
    this.#more.set(key, { first, count: 0 });
    this.write(first);
  }

  #addToOthers(one: Attempt): void {
    const key = `others ${one.outcome}`;
    const known = this.#more.get(key);
    if (known) return void known.count++;
    const many = { user: '', tokenId: '', peer: '', method: '*', objectKind: '', object: '' };
    const message = 'more different attempts than are told apart in a minute';
    this.#more.set(key, { first: { ...one, ...many, reason: '', message }, count: 1 });
  }
}

const clip = (s: string): string => (s.length > LONGEST_TEXT ? `${s.slice(0, LONGEST_TEXT)}…` : s);

const clipped = (a: Omit<Attempt, 'count'>): Attempt => ({
  ...{ ...a, count: 1, user: clip(a.user), peer: clip(a.peer), object: clip(a.object) },
  ...{ tokenId: clip(a.tokenId), message: clip(a.message) },
});
