/**
 * How a program that reads a stranger's bytes is started: as nobody in particular, in network and process namespaces of its
 * own (no network; whatever it forks dies with it), without capabilities or a way back to them, under resource limits and
 * behind everything else on the host. Builds the command line only; exec.ts starts it.
 */

export interface SandboxUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export interface Confinement {
  /** Address space; default 4 GiB, most of which is stacks and arenas that are never touched. */
  readonly memoryBytes?: number;
  /** CPU time; default one hour. */
  readonly cpuSeconds?: number;
  /** Largest file it may write; default 1 MiB: its own log. */
  readonly fileBytes?: number;
  /** It may use the host's network: only for what reads nothing of a stranger's. */
  readonly network?: boolean;
  /** Groups that it is in beside its own, for a device; default none. */
  readonly groups?: readonly number[];
}

const DEFAULT_MEMORY_BYTES = 4 * 2 ** 30;
const DEFAULT_CPU_SECONDS = 3_600;
const DEFAULT_FILE_BYTES = 2 ** 20;

/** @param bound the program dies when the process that started it dies. */
export function confine(
  user: SandboxUser,
  limits: Confinement,
  bound: boolean,
  argv: readonly string[],
): readonly string[] {
  // setpriv changes the user first and sets the signal then; the other order would lose it
  const deathSignal = bound ? ['--pdeathsig', 'SIGKILL'] : [];
  return [
    ...(bound ? ['setpriv', ...deathSignal, '--'] : []),
    // what follows runs programs before the last of them asks for its own death signal
    ...['unshare', ...(limits.network === true ? [] : ['--net']), '--pid', '--fork', '--kill-child=SIGKILL', '--'],
    // when memory runs out it goes before guests and the agent, whose favour it would inherit
    ...['choom', '-n', '500', '--'],
    ...['nice', '-n', '10', 'ionice', '-c', '2', '-n', '7'],
    'prlimit',
    `--as=${limits.memoryBytes ?? DEFAULT_MEMORY_BYTES}`,
    `--cpu=${limits.cpuSeconds ?? DEFAULT_CPU_SECONDS}`,
    `--fsize=${limits.fileBytes ?? DEFAULT_FILE_BYTES}`,
    '--core=0',
    '--',
    'setpriv',
    `--reuid=${user.uid}`,
    `--regid=${user.gid}`,
    ...(limits.groups?.length ? [`--groups=${limits.groups.join(',')}`] : ['--clear-groups']),
    '--inh-caps=-all',
    '--bounding-set=-all',
    '--no-new-privs',
    // when the namespace's parent dies, so does the program; it never outlives `unshare`
    '--pdeathsig',
    'SIGKILL',
    '--',
    ...argv,
  ];
}
