/**
 * On whose behalf the running code changes the state: set around each call of the API, read by each update, so that no
 * change by a person can miss its row in the audit log. What the controller does by itself runs as nobody.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

export interface Actor {
  readonly user: string;
  readonly tokenId: string;
  readonly peer: string;
  readonly method: string;
  /** The call has been answered: what still runs is not its doing. */
  over: boolean;
}

const acting = new AsyncLocalStorage<Actor | undefined>();

export const actAs = <T>(actor: Actor, work: () => T): T => acting.run(actor, work);
/** For work that a call merely wakes: jobs, listeners. */
export const actAsNobody = <T>(work: () => T): T => acting.run(undefined, work);

export function currentActor(): Actor | undefined {
  const actor = acting.getStore();
  return actor?.over === true ? undefined : actor;
}
