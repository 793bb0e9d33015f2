/**
 * When a signal has done its work. `kill` comes back before that: for some milliseconds a killed process is still listed, holds its
 * locks and listens on its ports. Nothing is sent here.
 */

/**
 * Says one letter for each thread of the processes whose ids it gets, as proc(5) has them. By thread, because the first one of
 * a killed process ends (and takes the command line with it) while others still hold its files.
 */
export const THREAD_STATES = `for pid; do cat /proc/$pid/task/*/stat 2>/dev/null; done | sed 's/.*) \\(.\\).*/\\1/' | tr -d '\\n'`;

/** Ended, though its parent has not asked how: it holds nothing any more. */
const ENDED = 'ZX';
/** Stopped, or held by a debugger; or ended meanwhile. */
const STOPPED = `Tt${ENDED}`;

/** The states in which threads are once the signal has worked; undefined when that can't be seen from outside. Pure. */
export function threadsAfter(signal: NodeJS.Signals): string | undefined {
  if (signal === 'SIGKILL' || signal === 'SIGTERM' || signal === 'SIGINT') return ENDED;
  if (signal === 'SIGSTOP') return STOPPED;
  return undefined;
}
