/**
 * Where a host's logs are. Under systemd in its journal; else the agent's own last lines in its memory, the kernel's ring buffer,
 * and libvirt's file where one is configured. QEMU's are files of libvirt's everywhere. Decides where to look, and no more.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { badState, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { LogRing } from '@berth/shared/log/ring.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { HostLogs, LogLine, LogWanted } from '../../host-logs.ts';
import type { Exec } from '../exec.ts';
import { readFileLog } from './file-log.ts';
import { journalDate, kernelDate, libvirtDate } from './lines.ts';
import { readProgramLog } from './program-log.ts';
import { readRing } from './ring-log.ts';

export interface HostLogsOptions {
  readonly exec: Pick<Exec, 'stream'>;
  readonly clock: Clock;
  /** What this process wrote last. */
  readonly ring: LogRing;
  /** Where the files of the machine are looked for; default `/`. */
  readonly root?: string;
}

const QEMU_LOGS = '/var/log/libvirt/qemu';
const LIBVIRT_FILES = ['/var/log/libvirt/libvirtd.log', '/var/log/libvirt/virtqemud.log'];
const LIBVIRT_UNITS = ['libvirtd.service', 'virtqemud.service', 'virtlogd.service', 'virtnetworkd.service'];
const NO_LIBVIRT_LOG =
  'libvirt writes no log to a file on this host: set log_outputs = "3:file:/var/log/libvirt/libvirtd.log" in /etc/libvirt/libvirtd.conf, and restart it';

export function createHostLogs(o: HostLogsOptions): HostLogs {
  const root = o.root ?? '/';
  const at = (path: string): string => join(root, path);
  const file = (path: string, absent: string, w: LogWanted, signal: AbortSignal) =>
    readFileLog({ path: at(path), date: libvirtDate, clock: o.clock, absent }, w, signal);
  const journal = (which: readonly string[], w: LogWanted, signal: AbortSignal) => {
    const how = [...journalArgs(w), ...which];
    const what = 'the journal of this host';
    return readProgramLog(o.exec, { program: 'journalctl', args: how, date: journalDate, what }, w, signal);
  };
  /** What is there, then what comes: asked for both at once, dmesg tells all of its buffer. */
  async function* kernel(w: LogWanted, signal: AbortSignal): AsyncGenerator<readonly LogLine[]> {
    yield* readProgramLog(o.exec, dmesg(), { ...w, follow: false }, signal);
    if (w.follow) yield* readProgramLog(o.exec, dmesg('--follow-new'), w, signal);
  }
  const systemd = () => exists(at('/run/systemd/system'));

  async function* read(w: LogWanted, signal: AbortSignal): AsyncGenerator<readonly LogLine[]> {
    if (w.source === 'qemu') {
      const name = checkDomainName(w.domain);
      yield* file(join(QEMU_LOGS, `${name}.log`), `QEMU has left no log of ${name} on this host`, w, signal);
    } else if (w.source === 'agent') {
      if (await systemd()) yield* journal(['--unit=berth-agent.service'], w, signal);
      else yield* readRing(o.ring, w, signal);
    } else if (w.source === 'kernel') {
      if (await systemd()) yield* journal(['--dmesg'], w, signal);
      else yield* kernel(w, signal);
    } else {
      const path = await newest(LIBVIRT_FILES, at);
      if (path !== undefined) yield* file(path, NO_LIBVIRT_LOG, w, signal);
      else if (await systemd())
        yield* journal(
          LIBVIRT_UNITS.map((u) => `--unit=${u}`),
          w,
          signal,
        );
      else throw badState(NO_LIBVIRT_LOG);
    }
  }
  return { read };
}

const journalArgs = (w: LogWanted): string[] => [
  '--quiet',
  '--no-pager',
  '--output=short-unix',
  `--lines=${w.tailLines}`,
  ...(w.sinceMs > 0 ? [`--since=@${Math.floor(w.sinceMs / 1000)}`] : []),
  ...(w.follow ? ['--follow'] : []),
];

const dmesg = (...more: string[]) => ({
  program: 'dmesg',
  args: ['--time-format', 'iso', '--nopager', ...more],
  date: kernelDate,
  what: "the kernel's log of this host",
});

/** It becomes the name of a file: nothing in it leads out of the directory. */
export function checkDomainName(name: string): string {
  if (name === '') throw invalidArgument('which VM? The log of QEMU is kept per VM');
  if (/[/\0\n]/.test(name) || name === '.' || name === '..' || name.length > 200)
    throw notFound(`there is no log of a domain ${JSON.stringify(name.slice(0, 80))}`);
  return name;
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function newest(paths: readonly string[], at: (path: string) => string): Promise<string | undefined> {
  const found = await Promise.all(
    paths.map(async (path) => ({ path, mtimeMs: (await stat(at(path)).catch(() => undefined))?.mtimeMs })),
  );
  return found.filter((f) => f.mtimeMs !== undefined).sort((a, b) => (b.mtimeMs ?? 0) - (a.mtimeMs ?? 0))[0]?.path;
}
