/**
 * One person at a console, over as many connections as it takes: what was shown last is known as a position in the guest's serial
 * log, and the next connection begins there. When to connect again is console.ts's.
 */
import { once } from 'node:events';
import type { VmConsoleInput, VmConsoleOutput } from '@berth/proto/v1/vm.ts';
import { VmState } from '@berth/proto/v1/vm.ts';
import type { Api } from '../core/api.ts';
import { note, type Context } from '../core/context.ts';
import { rawTerminal } from '../core/terminal.ts';
import { silentHint } from './serial-check.ts';

const LEAVE = 0x1d;
const ENTER = [0x0d, 0x0a];
/** Keys that wait for a connection. */
const MOST_WAITING_BYTES = 1024;
/** A guest that answers Enter does so in less. */
const SILENT_MS = 5_000;
const LOOK_MS = 500;
const SILENT_AGENT_MS = 1_000;
const GAP = '\n[some output is lost: the guest printed more than its host keeps]';

export interface ConsoleWanted {
  readonly id: string;
  readonly name: string;
  /** The same for all connections. */
  readonly session: string;
  readonly force: boolean;
}

interface Sink {
  write(m: VmConsoleInput): boolean;
  end(): void;
  once(event: 'drain', f: () => void): unknown;
}

export class ConsoleSession {
  /** Why the guest ended it; empty when it did not. */
  why = '';
  /** A connection has worked. */
  began = false;
  /** Input came from a file or a pipe, and is over. */
  typedAll = false;
  private readonly leaving = new AbortController();
  private restore: (() => void) | undefined;
  private position: string | undefined;
  private sink: Sink | undefined;
  private waiting: Buffer[] = [];
  private heard = false;
  private hinted = false;

  constructor(
    private readonly ctx: Context,
    private readonly api: Api,
    private readonly o: ConsoleWanted,
  ) {}

  /** Aborted when the person leaves. */
  get left(): AbortSignal {
    return this.leaving.signal;
  }

  start(): void {
    const { stdin, signal } = this.ctx;
    this.restore = rawTerminal(this.ctx);
    stdin.on('data', this.typed).once('end', this.ended);
    signal.addEventListener('abort', this.leave, { once: true });
    if (signal.aborted) this.leave();
  }

  stop(): void {
    const { stdin, signal } = this.ctx;
    this.restore?.();
    stdin.off('data', this.typed).off('end', this.ended);
    stdin.pause();
    signal.removeEventListener('abort', this.leave);
    this.leave();
  }

  /** One connection, until it is over in order. @throws what broke it. */
  async talk(alive: () => void): Promise<void> {
    const stream = this.api.console();
    const cancel = () => stream.cancel();
    this.left.addEventListener('abort', cancel, { once: true });
    // older agents say nothing until their guest does
    const late = this.ctx.clock.after(SILENT_AGENT_MS, () => this.open(stream));
    const { id, session } = this.o;
    const force = this.o.force && !this.began;
    this.why = '';
    stream.write({ message: { $case: 'open', value: { vm: id, force, session, from: this.position } } });
    try {
      for await (const said of stream as AsyncIterable<VmConsoleOutput>) {
        this.open(stream);
        alive();
        await this.show(said);
      }
    } catch (e) {
      if (!this.left.aborted) throw this.api.translate(e);
    } finally {
      late.cancel();
      this.sink = undefined;
      this.left.removeEventListener('abort', cancel);
      stream.cancel();
    }
  }

  /** What was printed since, of a guest that is off. */
  async rest(): Promise<void> {
    if (this.position !== undefined) await this.read(this.position);
    const { state } = await this.vm();
    this.why = state === VmState.SAVED ? 'it was saved' : 'it is stopped';
  }

  /** Resolves when the VM is on; calls `off` when that takes time. Notes where its log ends, so that all it prints then is shown. */
  async untilOn(off: () => void, alive: () => void): Promise<void> {
    for (let told = false; !this.left.aborted;) {
      const { state } = await this.vm();
      alive();
      if (state === VmState.RUNNING || state === VmState.PAUSED) return;
      if (!told) off();
      told = true;
      if (this.position === undefined) await this.read(undefined);
      await this.ctx.clock.sleep(LOOK_MS, this.left).catch(() => undefined);
    }
  }

  private vm() {
    return this.api.call(this.api.vms, (c) => c.getVm, { vm: this.o.id });
  }

  /** @param from undefined: shows nothing, and takes note of the end. */
  private async read(from: string | undefined): Promise<void> {
    const request = { vm: this.o.id, tailBytes: 1n, follow: false, from };
    for await (const piece of this.api.stream(this.api.vms, (c) => c.readVmLog, request, this.left)) {
      if (from !== undefined) await this.show(piece);
      else this.position = piece.position;
    }
  }

  private open(sink: Sink): void {
    if (this.sink) return;
    this.sink = sink;
    this.began = true;
    for (const data of this.waiting.splice(0)) this.send(sink, data);
    if (this.typedAll) sink.end();
  }

  private async show({ data, position, gap, notice, ended }: Partial<VmConsoleOutput>): Promise<void> {
    if (gap) note(this.ctx, GAP);
    if (notice) note(this.ctx, `\n${this.o.name}: ${notice}.`);
    if (data && data.length > 0) {
      this.heard = true;
      if (!this.ctx.stdout.write(data)) await once(this.ctx.stdout, 'drain').catch(() => undefined);
    }
    // what is not in the log can't be come back to
    this.position = position === '' && data && data.length > 0 ? undefined : (position ?? this.position);
    if (ended) this.why = ended;
  }

  private readonly leave = (): void => this.leaving.abort();

  private readonly ended = (): void => {
    this.typedAll = true;
    this.sink?.end();
  };

  private readonly typed = (data: Buffer): void => {
    if (this.ctx.stdin.isTTY && data.includes(LEAVE)) return this.leave();
    if (!this.heard && !this.hinted && ENTER.some((c) => data.includes(c))) this.hintSoon();
    if (this.sink) return this.send(this.sink, data);
    const held = this.waiting.reduce((n, d) => n + d.length, 0);
    if (!this.ctx.stdin.isTTY || held < MOST_WAITING_BYTES) this.waiting.push(data);
    if (!this.ctx.stdin.isTTY) this.ctx.stdin.pause();
  };

  /** What comes from a pipe waits there until the guest has taken what came before. */
  private send(sink: Sink, value: Buffer): void {
    const room = sink.write({ message: { $case: 'data', value } });
    if (this.ctx.stdin.isTTY) return;
    if (room) this.ctx.stdin.resume();
    else {
      this.ctx.stdin.pause();
      sink.once('drain', () => this.ctx.stdin.resume());
    }
  }

  private hintSoon(): void {
    this.hinted = true;
    this.ctx.clock.after(SILENT_MS, () => {
      if (!this.heard && !this.left.aborted && this.sink) note(this.ctx, silentHint(this.vm.name));
    });
  }
}
