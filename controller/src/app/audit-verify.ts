/** Reads the audit log from its oldest row to its newest and names the first that is not as it was written. Pure reads. */
import type { AuditHead, AuditRow } from '@berth/shared/model/audit.ts';
import { brokenBy, GENESIS } from '../state/audit-chain.ts';
import type { State } from '../state/state.ts';

/** The method of the row that takes older ones out; its object is the last that went, `<seq>:<hash>`. */
export const PRUNE = 'controller.pruneAudit';

export interface Verdict {
  readonly ok: boolean;
  readonly rows: number;
  readonly firstSeq: number;
  readonly head: AuditHead;
  readonly brokenSeq: number;
  readonly problem: string;
}

const PAGE = 1_000;

export const headText = (h: AuditHead): string => `${h.seq}:${h.hash}`;

/** @param known rows that were noted elsewhere, and so must be there. */
export async function verifyAudit(
  state: State,
  known: readonly (AuditHead & { readonly from: string })[],
): Promise<Verdict> {
  await state.settled();
  const end = state.auditHead;
  const walk = new Walk(known);
  for (let after = 0; ;) {
    const page = await state.auditLog({ after, limit: PAGE });
    for (const row of page) if (row.seq <= end.seq && !walk.step(row)) return walk.verdict();
    const last = page.at(-1);
    if (last === undefined || last.seq >= end.seq) break;
    after = last.seq;
  }
  return walk.end(end);
}

class Walk {
  #rows = 0;
  #firstSeq = 0;
  #head: AuditHead = GENESIS;
  #problem: { readonly seq: number; readonly words: string } | undefined;
  /** Where the log begins, when it does not begin at the beginning: a later row must account for it. */
  #cut: AuditHead | undefined;
  #accounted = false;

  constructor(private readonly known: readonly (AuditHead & { readonly from: string })[]) {}

  /** False at the first row that is wrong. */
  step(row: AuditRow): boolean {
    if (this.#rows === 0) this.#begin(row);
    const why = brokenBy(row, this.#head) ?? this.#contradicts(row);
    if (why !== undefined) return this.#fail(Math.min(row.seq, this.#head.seq + 1), why);
    this.#rows++;
    this.#head = { seq: row.seq, hash: row.hash };
    if (this.#cut && row.method === PRUNE && row.objectKind === 'audit' && row.object === headText(this.#cut))
      this.#accounted = true;
    return true;
  }

  end(expected: AuditHead): Verdict {
    const beyond = [{ ...expected, from: 'the running controller' }, ...this.known].find((h) => h.seq > this.#head.seq);
    if (beyond)
      this.#fail(
        this.#head.seq + 1,
        `the log ends at row ${this.#head.seq}, but ${beyond.from} knows row ${beyond.seq}`,
      );
    else if (this.#cut && !this.#accounted)
      this.#fail(
        this.#cut.seq,
        `rows up to ${this.#cut.seq} are missing, and no row says that they were taken out by age`,
      );
    return this.verdict();
  }

  verdict(): Verdict {
    return {
      ...{ ok: this.#problem === undefined, rows: this.#rows, firstSeq: this.#firstSeq, head: this.#head },
      ...{ brokenSeq: this.#problem?.seq ?? 0, problem: this.#problem?.words ?? '' },
    };
  }

  #begin(row: AuditRow): void {
    this.#firstSeq = row.seq;
    if (row.seq === 1) return;
    this.#cut = { seq: row.seq - 1, hash: row.prevHash };
    this.#head = this.#cut;
  }

  #contradicts(row: AuditRow): string | undefined {
    const other = this.known.find((h) => h.seq === row.seq && h.hash !== row.hash);
    return other && `row ${row.seq} is not the one that ${other.from} knows: rows were rewritten`;
  }

  #fail(seq: number, words: string): false {
    this.#problem = { seq, words };
    return false;
  }
}
