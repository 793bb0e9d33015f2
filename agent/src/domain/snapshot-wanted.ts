/** What is asked of snapshots.ts, and its checks. */
import { checkName } from '../ids.ts';
import type { DomainRef } from './domains.ts';

const MOST_DESCRIPTION = 1_000;

export interface SnapshotRef extends DomainRef {
  readonly name: string;
}
export interface CreateWanted extends SnapshotRef {
  readonly description: string;
  readonly memory: boolean;
  /** Its CPUs ran when this was asked for. */
  readonly running: boolean;
}
export interface RemoveWanted extends SnapshotRef {
  /** Taking back one that was begun: the guest's CPUs ran then. */
  readonly running: boolean;
}
export interface RevertWanted extends SnapshotRef {
  readonly force: boolean;
}

export function checkSnapshot<W extends SnapshotRef>(w: W): W {
  checkName('snapshot', w.name);
  return w;
}

export const checkCreate = (w: CreateWanted): CreateWanted =>
  checkSnapshot({ ...w, description: w.description.slice(0, MOST_DESCRIPTION) });
