/**
 * For streams that people keep open for hours: comes back when a host, its libvirt or the controller was away, and says so once.
 * Where to go on is the caller's to know. Only what was open already is waited for: the first refusal is told at once.
 */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { note, type Context } from './context.ts';

const FIRST_MS = 250;
const LAST_MS = 5_000;
/** A host that has just lost us may think for a moment that we are still there. */
const BUSY_MS = 20_000;

export interface Persisting {
  /** What it is about: "web". */
  readonly what: string;
  /** How to give up: "Ctrl-] leaves". */
  readonly leave: string;
  /** What is shown may end in the middle of a line. */
  readonly midLine?: boolean;
  readonly signal: AbortSignal;
}

/**
 * @param attempt one connection. Calls `alive` when it works; returns when it is over in order. A failure is thrown on, unless
 * it was alive before and the failure passes by waiting.
 */
export async function persist(
  ctx: Pick<Context, 'clock' | 'stderr'>,
  o: Persisting,
  attempt: (alive: () => void) => Promise<void>,
): Promise<void> {
  let [worked, told, tries, aliveAt] = [false, false, 0, 0];
  const alive = () => {
    if (told) note(ctx as Context, `${o.what} is back.`);
    [worked, told, tries, aliveAt] = [true, false, 0, ctx.clock.monotonic()];
  };
  while (!o.signal.aborted) {
    try {
      return await attempt(alive);
    } catch (e) {
      if (o.signal.aborted) return;
      if (tries === 0) aliveAt = ctx.clock.monotonic();
      if (!worked || !passes(e, ctx.clock.monotonic() - aliveAt)) throw e;
      if (!told && !isClusterError(e, 'RESOURCE_BUSY')) {
        note(ctx as Context, `${o.midLine ? '\n' : ''}${reason(e)}. Waiting for it; ${o.leave}.`);
        told = true;
      }
    }
    await ctx.clock.sleep(Math.min(LAST_MS, FIRST_MS * 2 ** tries++), o.signal).catch(() => undefined);
  }
}

const passes = (e: unknown, sinceMs: number): boolean =>
  isClusterError(e, 'HOST_UNREACHABLE', 'HYPERVISOR_UNAVAILABLE', 'CONTROLLER_UNREACHABLE', 'RATE_LIMITED') ||
  (isClusterError(e, 'RESOURCE_BUSY') && e.meta['taken'] === undefined && sinceMs < BUSY_MS);

const reason = (e: unknown): string => (e as Error).message.split('\n')[0]?.replace(/\.$/, '') ?? '';
