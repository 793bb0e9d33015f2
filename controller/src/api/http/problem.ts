/** Refusals that only HTTP knows (a method that a path has not, a body that is too large): an error of the table, with its own status. */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Reason } from '@berth/shared/errors/reasons.ts';

export class HttpProblem extends ClusterError {
  constructor(
    readonly httpStatus: 405 | 406 | 408 | 413 | 415,
    reason: Reason,
    message: string,
    /** Headers that belong to the status. */
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(reason, message);
  }
}
