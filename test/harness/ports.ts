/**
 * Ports for daemons that stop and start again in a test, and must find theirs free then: from below the range out of which the
 * kernel takes those of outgoing connections, and from a share of its own for each process that runs tests at the same time.
 */
import { createServer } from 'node:net';

const FIRST = 12_000;
const SHARE = 2_500;
const SHARES = 8;

export class Ports {
  #next: number;

  constructor(
    private readonly first: number,
    from: number,
  ) {
    this.#next = from % SHARE;
  }

  static ofThisProcess(): Ports {
    const worker = Number(process.env['VITEST_POOL_ID'] ?? 0);
    return new Ports(FIRST + (worker % SHARES) * SHARE, process.pid * 97);
  }

  /** One that nobody listens on, and that this process has not given out for a long time. */
  async free(host: string): Promise<number> {
    for (let tries = 0; tries < SHARE; tries++) {
      const port = this.first + this.#next;
      this.#next = (this.#next + 1) % SHARE;
      if (await isFree(host, port)) return port;
    }
    throw new Error(`no free port from ${this.first} on`);
  }
}

const isFree = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, host, () => probe.close(() => resolve(true)));
  });
