/** What an operation is: the kinds that services define, and how one is shown. What runs them is operations.ts. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { LongWork } from '../drivers/disks.ts';
import type { ImageOutcome, LedgerEntry, OperationFailure } from './ledger.ts';

export interface OperationView {
  readonly id: string;
  readonly state: LedgerEntry['state'];
  readonly failure: OperationFailure | undefined;
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** A fetch that waits for a peer to be offered. */
  readonly needsSource: boolean;
  /** The host whose image was not what it should be, the last one, and why. */
  readonly turnedAway?: { readonly hostId: string; readonly why: string };
  /** The host that a fetch reads from. */
  readonly sourceHostId?: string | undefined;
  readonly image: ImageOutcome | undefined;
  /** What was done, in words, where it has something to tell. */
  readonly detail?: string | undefined;
}

export interface Work extends LongWork {
  readonly operationId: string;
  needSource(needed: boolean): void;
  /** What was done, for people: shown when it has succeeded. */
  tell(detail: string): void;
  turnAway(hostId: string, why: string): void;
  /** @param hostId undefined: from nobody. */
  readFrom(hostId: string | undefined): void;
  /**
   * What comes now cannot be taken back: from here on a cancel waits for the end and learns how it ended, also when the agent was
   * started anew meanwhile. For long operations. @throws CANCELLED when that has come first; DISK_FULL
   */
  noReturn(): Promise<void>;
}

export interface OperationKind<R> {
  readonly name: string;
  /** Runs apart from the call, at most so many of this kind at a time, and again after a restart. */
  readonly long?: { readonly atOnce: number };
  /** Operations with the same key wait for each other. */
  lockKey(request: R): string;
  /** Also called with a signal that is aborted already, after a restart: it then gives what it has made, or throws, and does nothing. */
  run(request: R, work: Work): Promise<ImageOutcome | void>;
  /** Removes what the operation needed to run again: called when its success is on disk. */
  succeeded?(request: R): Promise<void>;
  /** Removes what an operation left that was cancelled or that failed for good. */
  abandon?(request: R): Promise<void>;
}

export type OperationListener = (view: OperationView, kind: { readonly name: string; readonly long: boolean }) => void;

const ID = /^[A-Za-z0-9._-]{1,200}$/;

export function checkOperationId(id: string): void {
  if (!ID.test(id))
    throw invalidArgument('the operation id is missing or malformed (at most 200 of A-Z a-z 0-9 . _ -)');
}

export const running = (id: string): OperationView => ({
  id,
  state: 'running',
  failure: undefined,
  doneBytes: 0,
  totalBytes: 0,
  needsSource: false,
  image: undefined,
});

export const viewOf = (e: LedgerEntry): OperationView => ({
  ...running(e.id),
  state: e.state,
  failure: e.failure,
  image: e.image,
  ...(e.detail !== undefined && { detail: e.detail }),
});
