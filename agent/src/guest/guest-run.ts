/**
 * Runs programs in guests: starts one through the guest's agent, looks now and then whether it has ended, and hands on what it
 * printed, cut to size. The guest's agent keeps the output until then, so nothing comes earlier. Nobody can end a program from
 * outside: when time is up it goes on, and that is said.
 */
import { badState, ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { EXEC_LIMITS } from '@berth/shared/model/guest.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { Turns } from '@berth/shared/runtime/turns.ts';
import { formatDuration } from '@berth/shared/units/duration.ts';
import type { DomainRef, Domains } from '../domain/domains.ts';
import type { GuestProcess, GuestProgram } from '../drivers/guest-agents.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import type { Freezes } from './freezes.ts';
import type { Guests } from './guests.ts';

export interface RunRequest extends GuestProgram {
  readonly timeoutMs: number;
}

export type RunNews =
  | { readonly type: 'started'; readonly pid: number }
  | { readonly type: 'output' | 'errorOutput'; readonly data: Uint8Array }
  | { readonly type: 'end'; readonly exitCode: number; readonly signal: number; readonly truncated: boolean };

export interface GuestRunDeps {
  readonly domains: Pick<Domains, 'need'>;
  readonly hypervisor: Pick<Hypervisor, 'guests'>;
  readonly guests: Pick<Guests, 'alone'>;
  readonly freezes: Pick<Freezes, 'find'>;
  readonly clock: Clock;
}

const FIRST_LOOK_MS = 50;
const SLOWEST_LOOK_MS = 1_000;
const PIECE_BYTES = 64 * 1024;
const AT_ONCE = 16;

export function checkRun(r: RunRequest): RunRequest {
  const { arguments: most, wordsBytes, inputBytes, longestMs } = EXEC_LIMITS;
  const words = [r.program, ...r.arguments, ...r.environment];
  if (r.program === '' || words.some((w) => w.includes('\0')))
    throw invalidArgument('a program is a path in the guest, and no word holds a NUL');
  const bytes = words.reduce((sum, w) => sum + Buffer.byteLength(w), 0);
  if (r.arguments.length > most || bytes > wordsBytes)
    throw invalidArgument(
      `a program takes at most ${most} arguments, and with its environment ${wordsBytes / 1024} KiB`,
    );
  if (r.environment.some((e) => !/^[^=]+=/.test(e))) throw invalidArgument('an environment is of NAME=value');
  if (r.input.length > inputBytes) throw invalidArgument(`at most ${inputBytes / 2 ** 20} MiB can be given as input`);
  if (!(r.timeoutMs >= 1_000 && r.timeoutMs <= longestMs)) throw invalidArgument('a program may take 1 s to 24 h');
  return r;
}

export class GuestRun {
  private readonly turns = new Turns(AT_ONCE);

  constructor(private readonly deps: GuestRunDeps) {}

  /** @param tell is told in order. @param signal aborted when nobody waits any more: the program goes on. */
  async run(ref: DomainRef, r: RunRequest, tell: (news: RunNews) => Promise<void>, signal: AbortSignal): Promise<void> {
    const { name, power } = await this.deps.domains.need(ref);
    if (power !== 'running') throw badState(`vm ${name} is ${power} on its host; programs run in it when it runs`);
    if (this.deps.freezes.find(ref.uuid))
      throw badState(`the file systems of vm ${name} are frozen: berth vm thaw ${name}`);
    const release = await this.turns.take(signal);
    try {
      const pid = await this.deps.guests.alone(ref.uuid, () => this.deps.hypervisor.guests.run(ref.uuid, r));
      await tell({ type: 'started', pid });
      const ended = await this.end(ref.uuid, { name, pid, timeoutMs: r.timeoutMs }, signal);
      await handOn(ended, tell);
    } finally {
      release();
    }
  }

  private async end(
    uuid: string,
    { name, pid, timeoutMs }: { name: string; pid: number; timeoutMs: number },
    signal: AbortSignal,
  ): Promise<Extract<GuestProcess, { ended: true }>> {
    const { clock, guests, hypervisor } = this.deps;
    const untilMs = clock.monotonic() + timeoutMs;
    for (let n = 0; ; n++) {
      const state = await guests.alone(uuid, () => hypervisor.guests.look(uuid, pid));
      if (state.ended) return state;
      const leftMs = untilMs - clock.monotonic();
      if (leftMs <= 0) throw stillRuns(name, pid, timeoutMs);
      await clock.sleep(Math.min(leftMs, SLOWEST_LOOK_MS, FIRST_LOOK_MS * 2 ** Math.min(n, 10)), signal);
    }
  }
}

async function handOn(
  p: Extract<GuestProcess, { ended: true }>,
  tell: (news: RunNews) => Promise<void>,
): Promise<void> {
  const { outputBytes } = EXEC_LIMITS;
  for (const type of ['output', 'errorOutput'] as const) {
    const data = p[type].subarray(0, outputBytes);
    for (let at = 0; at < data.length; at += PIECE_BYTES)
      await tell({ type, data: data.subarray(at, at + PIECE_BYTES) });
  }
  const truncated = p.truncated || p.output.length > outputBytes || p.errorOutput.length > outputBytes;
  await tell({ type: 'end', exitCode: p.exitCode, signal: p.signal, truncated });
}

const stillRuns = (vm: string, pid: number, timeoutMs: number): ClusterError =>
  new ClusterError(
    'DEADLINE_EXCEEDED',
    `the program in vm ${vm} did not end within ${formatDuration(timeoutMs)}: it goes on there as process ${pid}, and what it prints is lost`,
  );
