/** An agent that is killed, or whose neighbours fail, at any of its calls: before the call has done anything, or when it has. */
export class Kills {
  calls = 0;
  at = Infinity;
  after = false;
  /** Undefined: the agent ends there. Otherwise the call fails with it, once, and the agent goes on. */
  failure: Error | undefined;
  /** Resolves when it has come to that. */
  readonly end: Promise<void>;
  private reached!: () => void;
  private isDead = false;

  constructor() {
    this.end = new Promise((resolve) => (this.reached = resolve));
  }

  /** @param counted names of the calls at which it may end; a dead agent makes no call at all. Absent: all */
  wrap<T extends object>(of: T, counted?: readonly string[]): T {
    return new Proxy(of, {
      get: (target, key): unknown => {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        const counts = counted?.includes(String(key)) ?? true;
        return (...args: unknown[]) =>
          this.call(() => (value as (...a: unknown[]) => unknown).apply(target, args), counts);
      },
    });
  }

  private call(fn: () => unknown, counts: boolean): unknown {
    if (this.isDead) return new Promise(() => undefined);
    if (!counts || this.calls++ !== this.at) return fn();
    this.isDead = this.failure === undefined;
    return this.endAt(this.after ? fn : () => undefined);
  }

  private async endAt(fn: () => unknown): Promise<never> {
    await fn();
    this.reached();
    if (this.failure) throw this.failure;
    return new Promise(() => undefined);
  }
}
