/**
 * What bounds one reader of a small NBD server: how much is read for him at once, and how much he may be behind with what he asked
 * for or was given. Another host's agent is not trusted to wait for its answers. Knows no protocol.
 */
import type { Socket } from 'node:net';
import { ByteQueue } from '../disks/byte-queue.ts';

/** As many as QEMU has under way, and takes. */
const MOST_REQUESTS = 16;
const MOST_BYTES = 64 * 2 ** 20;
/** More than the longest request. */
const MOST_UNREAD_BYTES = 256 * 1024;

export class Reader {
  private readonly queue = new ByteQueue();
  private requests = 0;
  private bytes = 0;
  private told: (() => void) | undefined;

  constructor(private readonly socket: Socket) {
    socket.on('data', (d: Buffer) => {
      this.queue.push(d);
      if (this.queue.size > MOST_UNREAD_BYTES) socket.pause();
    });
    socket.once('close', () => this.queue.fail(new Error('the reader has gone')));
  }

  /** The next bytes from him, once he has taken what he was given. @throws when he has gone */
  async read(length: number): Promise<Buffer> {
    await this.drained();
    const bytes = await this.queue.read(length);
    if (this.queue.size <= MOST_UNREAD_BYTES) this.socket.resume();
    return bytes;
  }

  /** Waits until so much more may be read for him. */
  async room(bytes: number): Promise<void> {
    while (this.requests >= MOST_REQUESTS || (this.requests > 0 && this.bytes + bytes > MOST_BYTES))
      await new Promise<void>((resolve) => (this.told = resolve));
    this.requests++;
    this.bytes += bytes;
  }

  /** It has been answered. */
  done(bytes: number): void {
    this.requests--;
    this.bytes -= bytes;
    this.told?.();
    this.told = undefined;
  }

  private async drained(): Promise<void> {
    const { socket } = this;
    if (!socket.writableNeedDrain || socket.destroyed) return;
    await new Promise<void>((resolve) => {
      const over = (): void => {
        socket.off('drain', over).off('close', over);
        resolve();
      };
      socket.on('drain', over).on('close', over);
    });
  }
}
