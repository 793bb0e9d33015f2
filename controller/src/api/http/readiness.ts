/** Whether the controller can do its work: a commit that reaches the disk. Asked at most every few seconds, because anybody may ask. */
import { chain } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { State } from '../../state/state.ts';

const FRESH_MS = 5_000;
const PATIENCE_MS = 3_000;

export class Readiness {
  #asked: { readonly atMs: number; readonly answer: Promise<string | undefined> } | undefined;

  constructor(
    private readonly state: Pick<State, 'prove'>,
    private readonly clock: Clock,
  ) {}

  /** @returns why not, in words; undefined when it is ready. */
  whyNot(): Promise<string | undefined> {
    const now = this.clock.monotonic();
    if (this.#asked === undefined || now - this.#asked.atMs > FRESH_MS)
      this.#asked = { atMs: now, answer: this.#ask() };
    return this.#asked.answer;
  }

  #ask(): Promise<string | undefined> {
    return new Promise((resolve) => {
      const late = this.clock.after(PATIENCE_MS, () => resolve(`a commit takes longer than ${PATIENCE_MS / 1000} s`));
      this.state.prove().then(
        () => (late.cancel(), resolve(undefined)),
        (e: unknown) => (late.cancel(), resolve(`a commit failed: ${chain(e)}`)),
      );
    });
  }
}
