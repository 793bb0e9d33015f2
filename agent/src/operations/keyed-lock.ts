/** Turns, in order of asking: one at a time per key, or so many at a time of one sort. In memory only. */

type Release = () => void;

/** At most `size` at a time; the longest waiting is next. */
export class Turns {
  private used = 0;
  private readonly queue: (() => void)[] = [];

  constructor(private readonly size: number) {}

  /** Rejects with the signal's reason when aborted while waiting. */
  async take(signal?: AbortSignal): Promise<Release> {
    signal?.throwIfAborted();
    if (this.used >= this.size) await this.wait(signal);
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
        const at = this.queue.indexOf(go);
        if (at >= 0) this.queue.splice(at, 1);
        reject(signal?.reason as Error);
      };
      this.queue.push(go);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }
}

export class KeyedLock {
  private readonly keys = new Map<string, Turns>();

  async take(key: string, signal?: AbortSignal): Promise<Release> {
    const turns = this.keys.get(key) ?? new Turns(1);
    this.keys.set(key, turns);
    const release = await turns.take(signal);
    return () => {
      release();
      if (turns.idle && this.keys.get(key) === turns) this.keys.delete(key);
    };
  }
}
