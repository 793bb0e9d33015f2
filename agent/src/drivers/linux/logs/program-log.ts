/** A log that a program reads out: journalctl where systemd runs, dmesg elsewhere. The program keeps to the last lines itself. */
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { Exec } from '../exec.ts';
import type { LogLine, LogWanted } from '../../host-logs.ts';
import { LineReader, Tail, type Dating } from './lines.ts';

export interface ProgramLog {
  readonly program: string;
  readonly args: readonly string[];
  readonly date: Dating;
  /** Before the error's text. */
  readonly what: string;
}

/** What it says at once is the past; what comes later is new, and goes on at once. */
export async function* readProgramLog(
  exec: Pick<Exec, 'stream'>,
  log: ProgramLog,
  wanted: Pick<LogWanted, 'sinceMs' | 'tailLines' | 'follow'>,
  signal: AbortSignal,
): AsyncGenerator<readonly LogLine[]> {
  const reader = new LineReader(log.date, wanted.sinceMs);
  const tail = new Tail(wanted.tailLines);
  try {
    for await (const text of exec.stream(log.program, log.args, { signal, what: log.what })) {
      const lines = reader.take(text);
      if (wanted.follow) yield lines;
      else tail.add(lines);
    }
  } catch (e) {
    // a host may keep its log from the agent, as containers do
    throw badState(`${log.what} cannot be read`, {}, e);
  }
  tail.add(reader.end());
  yield tail.take();
}
