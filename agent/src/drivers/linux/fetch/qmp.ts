/**
 * A small client of QEMU's monitor protocol (QMP) over a UNIX socket: one command at a time in order, events dropped. What
 * a helper does is asked for, never remembered, because the helper outlives the agent. Knows no command in particular.
 */
import { connect, type Socket } from 'node:net';
import type { Clock } from '@berth/shared/runtime/clock.ts';

/** The helper answered, and the answer was no. */
export class QmpError extends Error {
  override readonly name = 'QmpError';
}

/** The helper is gone, or was never there; what became of a command under way nobody knows. */
export class QmpGone extends Error {
  override readonly name = 'QmpGone';
  override readonly message = 'the storage daemon that fills the copy of an image is gone';
}

export interface Qmp {
  /** QmpError when refused, QmpGone when there is nobody left. */
  execute<T = unknown>(command: string, args?: Readonly<Record<string, unknown>>): Promise<T>;
  readonly gone: boolean;
  close(): void;
}

/** A message longer than this is not QMP. */
const MAX_LINE_BYTES = 4 << 20;

interface Waiter {
  resolve(value: unknown): void;
  reject(e: Error): void;
}

/** Rejects when nothing answers in time: the helper is gone, or stuck. */
export async function connectQmp(path: string, clock: Clock, timeoutMs: number): Promise<Qmp> {
  const client = new QmpClient(connect({ path }));
  const timer = clock.after(timeoutMs, () => client.close());
  try {
    await client.greeting;
    await client.execute('qmp_capabilities');
    return client;
  } catch (e) {
    client.close();
    throw e;
  } finally {
    timer.cancel();
  }
}

class QmpClient implements Qmp {
  gone = false;
  readonly greeting: Promise<unknown>;
  private readonly waiting: Waiter[] = [];
  private seen = '';

  constructor(private readonly socket: Socket) {
    this.greeting = new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.take(text));
    socket.on('error', () => this.lose()).on('close', () => this.lose());
  }

  execute<T>(command: string, args?: Readonly<Record<string, unknown>>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.gone) return reject(new QmpGone());
      this.waiting.push({ resolve: (v) => resolve(v as T), reject });
      this.socket.write(`${JSON.stringify({ execute: command, ...(args ? { arguments: args } : {}) })}\n`);
    });
  }

  close(): void {
    this.socket.destroy();
    this.lose();
  }

  private take(text: string): void {
    this.seen += text;
    const lines = this.seen.split('\n');
    this.seen = lines.pop() ?? '';
    if (this.seen.length > MAX_LINE_BYTES) return this.close();
    for (const line of lines) if (line.trim() !== '') this.answer(line);
  }

  private answer(line: string): void {
    const message = parse(line);
    if (!message) return this.close();
    if ('event' in message) return;
    const waiter = this.waiting.shift();
    const { error } = message as { error?: { desc?: string } };
    if (error) waiter?.reject(new QmpError(error.desc ?? 'unknown error'));
    else waiter?.resolve(message['return']);
  }

  private lose(): void {
    if (this.gone) return;
    this.gone = true;
    for (const waiter of this.waiting.splice(0)) waiter.reject(new QmpGone());
  }
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
