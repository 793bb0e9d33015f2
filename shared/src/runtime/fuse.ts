/**
 * Waits for one thing after the other, any of which is given up when something else has failed. As `Promise.race` of each with that
 * failure, but nothing of what is done is kept: a race leaves a reaction with a promise that may not settle for days, and there may
 * be millions.
 */
export class Fuse {
  private burnt: { readonly e: unknown } | undefined;
  private giveUp: ((e: unknown) => void) | undefined;

  /** From now on nothing is waited for. The first counts. */
  burn(e: unknown): void {
    this.burnt ??= { e };
    this.giveUp?.(this.burnt.e);
  }

  /** One at a time. */
  wait<T>(what: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.giveUp = reject;
      if (this.burnt) reject(this.burnt.e);
      what.then(resolve, reject);
    });
  }
}
