/** Turns in order of asking: so many at a time, of one sort or per key. In memory, within this process. */

export type Release = () => void;

/** At most `atOnce` at a time; the longest waiting is next. */
export class Turns {
  private used = 0;
  private readonly queue: (() => void)[] = [];

  constructor(private readonly atOnce: number) {}

  /** Resolves with what ends the turn; calling that again does nothing. Rejects when aborted before the turn has come. */
  async take(signal?: AbortSignal): Promise<Release> {
    if (signal?.aborted) throw reasonOf(signal);
    if (this.used >= this.atOnce) await this.wait(signal);
    else this.used++;
    let open = true;
    return () => {
      if (!open) return;
      open = false;
      const next = this.queue.shift();
      if (next) next();
      else this.used--;
    };
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    const release = await this.take();
    try {
      return await work();
    } finally {
      release();
    }
  }

  get idle(): boolean {
    return this.used === 0;
  }

  private wait(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = (): void => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      const leave = (): void => {
        this.queue.splice(this.queue.indexOf(go), 1);
        reject(reasonOf(signal));
      };
      this.queue.push(go);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }
}

/** At most `atOnce` at a time under each key; keys don't wait for each other. */
export class KeyedTurns<K = string> {
  private readonly keys = new Map<K, Turns>();

  constructor(private readonly atOnce = 1) {}

  async take(key: K, signal?: AbortSignal): Promise<Release> {
    const turns = this.keys.get(key) ?? new Turns(this.atOnce);
    this.keys.set(key, turns);
    const release = await turns.take(signal);
    return () => {
      release();
      if (turns.idle && this.keys.get(key) === turns) this.keys.delete(key);
    };
  }

  async run<T>(key: K, work: () => Promise<T>): Promise<T> {
    const release = await this.take(key);
    try {
      return await work();
    } finally {
      release();
    }
  }
}

const reasonOf = (signal?: AbortSignal): Error =>
  signal?.reason instanceof Error ? signal.reason : new Error('aborted before its turn');
