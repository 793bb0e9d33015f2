/** Runs one look at a time: asked again meanwhile, it looks once more afterwards, so that the last asker sees the newest. */
export class Refresher {
  private running: Promise<void> | undefined;
  private next: Promise<void> | undefined;

  /** @param look never throws. */
  constructor(private readonly look: () => Promise<void>) {}

  /** Resolves when a look that began after this call has ended. */
  run(): Promise<void> {
    if (this.running === undefined) return this.begin();
    this.next ??= this.running.then(() => {
      this.next = undefined;
      return this.begin();
    });
    return this.next;
  }

  private begin(): Promise<void> {
    const mine = this.look().finally(() => {
      if (this.running === mine) this.running = undefined;
    });
    this.running = mine;
    return mine;
  }
}
