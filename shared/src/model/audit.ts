/** The audit log: who changed what, and who was refused. Kept apart from events, which are for looking on. Plain data. */

export type AuditOutcome = 'done' | 'failed' | 'refused';

export interface AuditEntry {
  readonly atMs: number;
  /** Empty: nobody who is known. */
  readonly user: string;
  readonly tokenId: string;
  /** Address that the call came from. */
  readonly peer: string;
  /** `VmService.StartVm`, or `controller.…` for what the controller notes by itself. */
  readonly method: string;
  readonly objectKind: string;
  /** Its name, or its id where it has none. */
  readonly object: string;
  readonly outcome: AuditOutcome;
  /** Of the table of errors; empty when done. */
  readonly reason: string;
  /** Words for people; empty when done. */
  readonly message: string;
  /** How many attempts this row stands for. */
  readonly count: number;
  readonly jobId: string;
  /** JSON, secrets left out: what changed, by object. Empty when nothing did. */
  readonly before: string;
  readonly after: string;
}

/** As stored: each row holds the hash of the one before it, so that none can be changed or taken out unnoticed. */
export interface AuditRow extends AuditEntry {
  /** From 1, without gaps. */
  readonly seq: number;
  readonly revision: number;
  readonly prevHash: string;
  readonly hash: string;
}

export interface AuditHead {
  readonly seq: number;
  readonly hash: string;
}
