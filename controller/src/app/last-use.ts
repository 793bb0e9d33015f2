/**
 * When each token was last used, and from where: kept in memory, and written down about once a minute, so that a read costs
 * no fsync. A crash loses the last minute.
 */
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import { actAsNobody } from '../state/actor.ts';
import type { State } from '../state/state.ts';

const BEHIND_MS = 60_000;

export class LastUse {
  readonly #used = new Map<string, { readonly atMs: number; readonly from: string }>();
  #timer: Timer | undefined;

  constructor(
    private readonly state: State,
    private readonly clock: Pick<Clock, 'now' | 'after'>,
    private readonly log: Pick<Log, 'error'>,
  ) {}

  note(tokenId: string, from: string): void {
    this.#used.set(tokenId, { atMs: this.clock.now(), from });
    this.#timer ??= actAsNobody(() => this.clock.after(BEHIND_MS, () => void this.flush()));
  }

  /** Never rejects. */
  async flush(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    const used = [...this.#used];
    this.#used.clear();
    if (used.length === 0) return;
    try {
      await actAsNobody(() =>
        this.state.update((tx) => {
          for (const [id, { atMs, from }] of used) {
            const token = tx.tokens.get(id);
            if (token) tx.tokens.put({ ...token, lastUsedAtMs: atMs, lastUsedFrom: from });
          }
        }),
      );
    } catch (e) {
      this.log.error({ err: e }, 'the last use of tokens could not be noted');
    }
  }
}
