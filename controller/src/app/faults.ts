/** Collects what is wrong with a request, so that a person hears all of it at once. */
import { invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';

const MOST = 20;

export class Faults {
  readonly #lines: string[] = [];

  add(line: string): void {
    this.#lines.push(line);
  }

  /** What it gives; when it throws INVALID_ARGUMENT, that is noted and `otherwise` is given. */
  of<T>(otherwise: T, make: () => T): T {
    try {
      return make();
    } catch (e) {
      if (!isClusterError(e, 'INVALID_ARGUMENT')) throw e;
      this.#lines.push(...e.message.split('\n'));
      return otherwise;
    }
  }

  /** @throws INVALID_ARGUMENT, one line per fault, if there is any. */
  refuse(): void {
    if (this.#lines.length > 0) throw invalidArgument([...new Set(this.#lines)].slice(0, MOST).join('\n'));
  }
}
