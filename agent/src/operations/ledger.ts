/**
 * The ledger: which operations this host was asked for and how they ended, so that a repeated call gets the same answer
 * and a cancelled one cannot arrive late. Also keeps what fence.ts has seen. Runs nothing.
 */
import { join } from 'node:path';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Reason } from '@berth/shared/errors/reasons.ts';
import { Journal, type JournalOptions } from './journal.ts';

export interface ImageOutcome {
  readonly digest: string;
  readonly virtualSizeBytes: number;
  readonly fileBytes: number;
  /** Empty for fetches. */
  readonly sourceDigest: string;
  /** Of an import: a CD-ROM's. */
  readonly medium?: boolean;
  /** Of a capture: how the disks were when they were copied. */
  readonly detail?: string;
}

export interface OperationFailure {
  readonly reason: Reason;
  readonly message: string;
}

export interface LedgerEntry {
  readonly id: string;
  readonly kind: string;
  readonly hash: string;
  /** What is needed to run it again; undefined for operations that are only ever repeated by the controller. */
  readonly request: unknown;
  readonly state: 'running' | 'succeeded' | 'failed' | 'cancelled';
  readonly failure: OperationFailure | undefined;
  /** Of a failure: the same call may try again. */
  readonly again: boolean;
  readonly image: ImageOutcome | undefined;
  readonly detail?: string | undefined;
  /** Of one that runs: it cannot be taken back any more, and is done to its end. */
  readonly mustEnd?: boolean | undefined;
  readonly atMs: number;
}

export interface SeenController {
  readonly installationId: string;
  readonly epoch: number;
  readonly revision: number;
  readonly runId: string;
}

type Line =
  | { readonly t: 'op'; readonly op: LedgerEntry }
  | { readonly t: 'drop'; readonly id: string }
  | { readonly t: 'ack'; readonly prefixes: readonly string[] }
  | { readonly t: 'fence'; readonly seen: SeenController };

const COMPACT_BYTES = 256 * 1024;
/** Ended operations of controllers that never acknowledged, after a restore for example. */
const FORGET_AFTER_MS = 30 * 24 * 3_600_000;

const isLine = (v: unknown): v is Line =>
  typeof v === 'object' && v !== null && ['op', 'drop', 'ack', 'fence'].includes((v as { t?: string }).t ?? '');

export class Ledger {
  private readonly ops = new Map<string, LedgerEntry>();
  private seen: SeenController | undefined;
  private compactAt = COMPACT_BYTES;
  private compacting = false;

  private constructor(
    private readonly journal: Journal,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  static async open(dataDir: string, deps: { clock: Clock; log: Log }, options: JournalOptions = {}): Promise<Ledger> {
    const file = join(dataDir, 'operations', 'ledger.jsonl');
    const { journal, records, damaged } = await Journal.open(file, options);
    const ledger = new Ledger(journal, deps.clock, deps.log);
    for (const r of records) if (isLine(r)) ledger.apply(r);
    if (damaged > 0) deps.log.error({ file, damaged }, 'the operation ledger has damaged lines; they were left out');
    return ledger;
  }

  get(id: string): LedgerEntry | undefined {
    return this.ops.get(id);
  }

  entries(): IterableIterator<LedgerEntry> {
    return this.ops.values();
  }

  /** What is durable. */
  get controller(): SeenController | undefined {
    return this.seen;
  }

  /** Resolves when it is on disk. @throws DISK_FULL: then it is as if it had not been called. */
  async put(entry: Omit<LedgerEntry, 'atMs'>): Promise<void> {
    await this.save({ t: 'op', op: { ...entry, atMs: this.clock.now() } });
  }

  /** As `put`, but a disk that is full only delays the writing: the answer is known and true either way. True when it is on disk. */
  putResult(entry: Omit<LedgerEntry, 'atMs'>): Promise<boolean> {
    return this.saveOrNote({ t: 'op', op: { ...entry, atMs: this.clock.now() } });
  }

  /** Forgets one operation, so that the same id can be tried again. */
  async drop(id: string): Promise<void> {
    if (this.ops.has(id)) await this.saveOrNote({ t: 'drop', id });
  }

  /** Forgets ended operations whose id begins with one of `prefixes`. Gives those it forgot. */
  async acknowledge(prefixes: readonly string[]): Promise<LedgerEntry[]> {
    const gone = this.matching(prefixes);
    if (gone.length > 0) await this.saveOrNote({ t: 'ack', prefixes });
    return gone;
  }

  async saveController(seen: SeenController): Promise<void> {
    await this.save({ t: 'fence', seen });
  }

  /** A newer revision of the same controller: written when something else is. */
  noteController(seen: SeenController): void {
    this.seen = seen;
    this.journal.note({ t: 'fence', seen });
  }

  close(): Promise<void> {
    return this.journal.close();
  }

  private async save(line: Line): Promise<void> {
    await this.journal.append(line);
    this.apply(line);
    this.compactIfLarge();
  }

  private async saveOrNote(line: Line): Promise<boolean> {
    try {
      await this.save(line);
      return true;
    } catch (e) {
      this.log.warn({ err: e }, 'an operation could not be noted on disk; it will be with the next one');
      this.apply(line);
      this.journal.note(line);
      return false;
    }
  }

  private apply(line: Line): void {
    if (line.t === 'op') this.ops.set(line.op.id, line.op);
    else if (line.t === 'drop') this.ops.delete(line.id);
    else if (line.t === 'fence') this.seen = line.seen;
    else for (const e of this.matching(line.prefixes)) this.ops.delete(e.id);
  }

  private matching(prefixes: readonly string[]): LedgerEntry[] {
    return [...this.ops.values()].filter((e) => e.state !== 'running' && prefixes.some((p) => e.id.startsWith(p)));
  }

  private compactIfLarge(): void {
    if (this.journal.bytes < this.compactAt || this.compacting) return;
    this.compacting = true;
    void this.journal
      .rewrite(() => this.lines())
      .catch((e: unknown) => this.log.warn({ err: e }, 'the operation ledger could not be compacted'))
      .finally(() => {
        this.compacting = false;
        this.compactAt = Math.max(COMPACT_BYTES, 4 * this.journal.bytes);
      });
  }

  private lines(): Line[] {
    const oldest = this.clock.now() - FORGET_AFTER_MS;
    for (const e of [...this.ops.values()]) if (e.state !== 'running' && e.atMs < oldest) this.ops.delete(e.id);
    const ops = [...this.ops.values()].map((op): Line => ({ t: 'op', op }));
    return this.seen ? [{ t: 'fence', seen: this.seen }, ...ops] : ops;
  }
}
