/**
 * The audit log as administrators read it, and the rows that no change makes: refused and failed attempts, bounded so that
 * they can't fill the disk, and the removal of old rows. Rows of changes are made by the state itself (audit-entry.ts).
 */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { AuditHead, AuditOutcome, AuditRow } from '@berth/shared/model/audit.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import { actAsNobody } from '../state/actor.ts';
import type { State } from '../state/state.ts';
import type { HeadFile } from './audit-head.ts';
import { PRUNE, verifyAudit, type Verdict } from './audit-verify.ts';
import type { Page, PageQuery } from './pages.ts';
import { Refusals, type Attempt } from './refusals.ts';

export interface AuditFilter {
  readonly user: string;
  readonly object: string;
  readonly outcome: string;
  readonly sinceMs: number;
}

export interface AuditDeps {
  readonly state: State;
  readonly clock: Clock;
  readonly log: Pick<Log, 'info' | 'error'>;
  /** Keeps the newest row's hash beside the database. */
  readonly head?: HeadFile;
  readonly keep?: AuditRetention;
}

export interface AuditRetention {
  readonly rows: number;
  readonly ms: number;
}

/** A row takes about 1 KiB: a gigabyte at most. */
export const AUDIT_RETENTION: AuditRetention = { rows: 1_000_000, ms: 400 * 86_400_000 };
const OUTCOMES: readonly AuditOutcome[] = ['done', 'failed', 'refused'];
const DEFAULT_PAGE = 100;
const LARGEST_PAGE = 1_000;
const PRUNE_EVERY_MS = 3_600_000;

export class Audit {
  readonly #refusals: Refusals;
  #timer: Timer | undefined;

  constructor(private readonly deps: AuditDeps) {
    const { state, clock, log } = deps;
    const write = (a: Attempt) =>
      actAsNobody(() => state.update((tx) => tx.audit({ ...a, jobId: '', before: '', after: '' })));
    this.#refusals = new Refusals(clock, (a) => void write(a).catch((e: unknown) => log.error({ err: e }, 'audit')));
  }

  /** Compares the log with the head beside it, then takes out old rows from time to time. */
  async start(): Promise<void> {
    await this.#compare();
    this.deps.head?.follow(this.deps.state);
    const { seq, hash } = this.deps.state.auditHead;
    this.deps.log.info({ seq, hash }, 'audit log');
    this.#pruneLater(0);
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#refusals.flush();
    await this.deps.head?.stop();
  }

  /** An attempt that came to nothing. Never throws, never waits. */
  attempt(a: Omit<Attempt, 'count'>): void {
    this.#refusals.add(a);
  }

  async list(filter: AuditFilter, page: PageQuery): Promise<Page<AuditRow>> {
    const { user, object, outcome, sinceMs } = filter;
    if (outcome !== '' && !OUTCOMES.some((o) => o === outcome))
      throw invalidArgument(`outcome ${JSON.stringify(outcome.slice(0, 40))} is not one of ${OUTCOMES.join(', ')}`);
    const limit = Math.min(LARGEST_PAGE, page.pageSize || DEFAULT_PAGE);
    await this.deps.state.settled();
    const rows = await this.deps.state.auditLog({
      limit: limit + 1,
      ...(page.pageToken === '' ? {} : { before: readToken(page.pageToken) }),
      ...(user === '' ? {} : { user }),
      ...(object === '' ? {} : { object }),
      ...(outcome === '' ? {} : { outcome }),
      ...(sinceMs === 0 ? {} : { sinceMs }),
    });
    const items = rows.slice(0, limit);
    return { items, nextPageToken: rows.length > limit ? String(items.at(-1)?.seq ?? '') : '' };
  }

  /** @param noted `<seq>:<hash>` of a row that somebody noted elsewhere; empty: none. */
  verify(noted: string): Promise<Verdict> {
    const { state, head } = this.deps;
    const beside = head?.known;
    return verifyAudit(state, [
      ...(beside ? [{ ...beside, from: 'the file beside the database' }] : []),
      ...(noted === '' ? [] : [{ ...readHead(noted), from: 'your note' }]),
    ]);
  }

  /** Public for tests. */
  async prune(): Promise<void> {
    const { state, clock, keep = AUDIT_RETENTION } = this.deps;
    const newest = state.auditHead.seq;
    const [tooMany] = await state.auditLog({ before: newest - keep.rows + 1, limit: 1 });
    const oldest = await state.auditLog({ after: 0, limit: 1_000 });
    const tooOld = oldest.filter((r) => r.atMs < clock.now() - keep.ms).at(-1);
    const last = (tooMany?.seq ?? 0) > (tooOld?.seq ?? 0) ? tooMany : tooOld;
    if (last) await state.pruneAudit({ seq: last.seq, hash: last.hash }, PRUNE);
  }

  #pruneLater(ms: number): void {
    const again = () => this.#pruneLater(PRUNE_EVERY_MS);
    const failed = (e: unknown) => this.deps.log.error({ err: e }, 'old rows of the audit log could not be removed');
    this.#timer = this.deps.clock.after(ms, () => void this.prune().catch(failed).then(again));
  }

  /** A log that ends before, or otherwise than, the head beside it: noted in the log itself, and as an alarm. */
  async #compare(): Promise<void> {
    const { state, head } = this.deps;
    const known = head?.load();
    if (known === undefined || known.seq === 0) return;
    const [row] = await state.auditLog({ before: known.seq + 1, limit: 1 });
    if (row?.seq === known.seq && row.hash === known.hash) return;
    const words = gapWords(row, known, state.auditHead);
    await state.update((tx) => {
      const about = { objectKind: 'audit', object: `${known.seq}:${known.hash}`, count: 1, jobId: '' };
      const nobody = { user: '', tokenId: '', peer: '', before: '', after: '' };
      tx.audit({
        ...nobody,
        ...about,
        method: 'controller.checkAudit',
        outcome: 'failed',
        reason: 'DIGEST_MISMATCH',
        message: words,
      });
      tx.event({
        type: 'audit.broken',
        severity: 'alarm',
        subjectKind: 'controller',
        subject: 'audit',
        message: words,
        jobId: undefined,
      });
    });
  }
}

function gapWords(row: AuditRow | undefined, known: AuditHead, head: AuditHead): string {
  const also = 'A backup that was restored explains this; otherwise somebody changed the database by hand';
  return row?.seq === known.seq
    ? `row ${known.seq} of the audit log is not the one that was written. ${also}`
    : `the audit log ends at row ${head.seq}, but row ${known.seq} was written. ${also}`;
}

function readToken(token: string): number {
  if (/^\d{1,15}$/.test(token)) return Number(token);
  throw invalidArgument('page_token is not one that this controller gave');
}

function readHead(text: string): AuditHead {
  const [, seq, hash] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text.trim()) ?? [];
  if (seq === undefined || hash === undefined)
    throw invalidArgument('a noted row is its number and its hash: 57:9f2c…, as berth audit verify prints it');
  return { seq: Number(seq), hash };
}
