/**
 * Programs that were to die with their agent, and did not: killed in the very moment in which one was being started, an agent
 * leaves it without anybody whose death it would notice (setpriv sets the signal only once it runs). So each bears the mark of
 * the agent that started it, and the next agent ends those whose agent is gone. Helpers that shall outlive it bear another mark.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';

export const BOUND = 'BERTH_BOUND';

/** In clock ticks since the machine booted: a process id alone may be another's by now. proc(5), field 22; names may hold spaces. */
const startedAt = (stat: string): string | undefined => stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];

let own: string | undefined;

/** Of this process: where its id counts, that id, and since when. A machine sees the processes of its containers under other ids. */
export const boundMark = (): string =>
  (own ??= `${namespace()}/${process.pid}/${startedAt(readFileSync('/proc/self/stat', 'utf8')) ?? ''}`);

const namespace = (): string => readlinkSync('/proc/self/ns/pid');

/** Whose agent is elsewhere, in a container or around one, is not known here, and is left alone. */
async function isOrphan(mark: string): Promise<boolean> {
  const [where, pid = '', started] = mark.split('/');
  if (where !== namespace() || !/^\d+$/.test(pid)) return false;
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return stat === undefined || startedAt(stat) !== started;
}

async function markOf(pid: string): Promise<string | undefined> {
  const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
  const entry = environment.split('\0').find((e) => e.startsWith(`${BOUND}=`));
  return entry?.slice(BOUND.length + 1);
}

/** Ends them at once. @returns how many there were */
export async function endOrphans(): Promise<number> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const orphaned = await Promise.all(
    pids.map(async (pid) => {
      const mark = await markOf(pid);
      return mark !== undefined && (await isOrphan(mark));
    }),
  );
  const orphans = pids.filter((_, i) => orphaned[i]);
  for (const pid of orphans) end(Number(pid));
  return orphans.length;
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'ESRCH') throw e;
  }
}
