/** Operations of a simulated host, as it remembers and tells them. What they do is fake-host.ts's. */
import type { ImageOutcome, OperationView } from '@berth/controller/hosts/agent-client.ts';
import { REASONS, type Reason } from '@berth/shared/errors/reasons.ts';

export interface Operation {
  readonly id: string;
  readonly request: string;
  state: OperationView['state'];
  error: OperationView['error'];
  image: ImageOutcome | undefined;
  /** Looks until it ends; a fetch without a source does not count them. */
  looks: number;
  needsSource: boolean;
  peer: string | undefined;
  turnedAway?: OperationView['turnedAway'];
  effect: (() => ImageOutcome | undefined) | undefined;
}

/** As the agent does with long operations that failed for something that may pass. */
export const mayTryAgain = (op: Operation): boolean =>
  op.state === 'failed' &&
  /^\["((import|fetch)Image|ensureVolume)"/.test(op.request) &&
  REASONS[op.error?.reason as Reason].retry !== 'never';

export const view = (op: Operation): OperationView => ({
  id: op.id,
  state: op.state,
  error: op.state === 'failed' ? op.error : undefined,
  doneBytes: 0,
  totalBytes: 0,
  needsSource: op.needsSource,
  ...(op.turnedAway && { turnedAway: op.turnedAway }),
  ...(op.peer !== undefined && !op.needsSource && { sourceHostId: op.peer }),
  image: op.state === 'succeeded' ? op.image : undefined,
});

/** Whether one of the operations copies this image: who does passes on what it has. */
export function fetches(operations: Iterable<Operation>, digest: string): boolean {
  const request = JSON.stringify(['fetchImage', { digest }]).slice(0, -2);
  return [...operations].some((op) => op.state === 'running' && op.request.startsWith(request));
}
