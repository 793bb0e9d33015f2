/**
 * Which copies of images may go: pure. A copy is what one host keeps of one content, under whatever names; what is here decides, and
 * the job that removes it asks again.
 */
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';

export interface CopyFacts {
  readonly digest: string;
  readonly hostId: HostId;
  /** All images of this content that have a copy there. */
  readonly imageIds: readonly ImageId[];
  readonly fileBytes: number;
  /** Something on that host is based on it, or has it in a drive; or an open job works with one of its images. */
  readonly needed: 'used' | 'busy' | undefined;
  /** How long nothing there has needed it. */
  readonly unusedMs: number;
  /** The host answers: only such copies count, and only such can be removed. */
  readonly up: boolean;
  /** The pool of the host is short of room. */
  readonly short: boolean;
}

export interface PrunePolicy {
  /** Infinity: never for this alone. */
  readonly unusedMs: number;
  /** On hosts that are short of room. */
  readonly shortUnusedMs: number;
  /** How many copies of a content are kept, at least 1. */
  keep(digest: string): number;
  /** Others are counted, and nothing is said of them. Absent: all. */
  isChosen?(copy: CopyFacts): boolean;
}

export type Verdict = 'remove' | 'used' | 'busy' | 'young' | 'away' | 'kept';

export interface Judged extends CopyFacts {
  readonly verdict: Verdict;
}

/** Of each copy what becomes of it. Those that free most go first, and where room is short before that. */
export function planPrune(copies: readonly CopyFacts[], policy: PrunePolicy): readonly Judged[] {
  const left = new Map<string, number>();
  for (const c of copies) if (c.up) left.set(c.digest, (left.get(c.digest) ?? 0) + 1);
  const order = [...copies].sort(
    (a, b) => Number(b.short) - Number(a.short) || b.unusedMs - a.unusedMs || b.fileBytes - a.fileBytes || byName(a, b),
  );
  return order.filter(chosen(policy)).map((c) => {
    const verdict = judge(c, left.get(c.digest) ?? 0, policy);
    if (verdict === 'remove') left.set(c.digest, (left.get(c.digest) ?? 0) - 1);
    return { ...c, verdict };
  });
}

const chosen = ({ isChosen }: PrunePolicy): ((c: CopyFacts) => boolean) => isChosen ?? (() => true);

function judge(c: CopyFacts, left: number, policy: PrunePolicy): Verdict {
  if (c.needed) return c.needed;
  if (!c.up) return 'away';
  if (left <= Math.max(1, policy.keep(c.digest))) return 'kept';
  return c.unusedMs >= (c.short ? Math.min(policy.shortUnusedMs, policy.unusedMs) : policy.unusedMs)
    ? 'remove'
    : 'young';
}

const byName = (a: CopyFacts, b: CopyFacts): number => (`${a.hostId}${a.digest}` < `${b.hostId}${b.digest}` ? -1 : 1);
