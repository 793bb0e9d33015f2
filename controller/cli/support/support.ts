/** berth support bundle: one file with what somebody who helps needs to see. */
import { once } from 'node:events';
import { constants } from 'node:fs';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { alreadyExists, badState, chain, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import { count, SELECTOR, text, type Command } from '../core/command.ts';
import { note, type Context } from '../core/context.ts';

const supportBundle: Command = {
  noun: 'support',
  verb: 'bundle',
  summary: 'write logs, versions and states of the controller and all hosts to one file, without secrets',
  details: [
    'Passwords, tokens, tickets, keys and user data are taken out; look through it before you give it away all the same. Hosts that',
    'cannot be reached are left out: manifest.json in it says what is missing and why. Nobody but you can read the file, and the',
    'controller keeps nothing of it. - writes it to standard output.',
  ].join('\n'),
  args: [{ name: 'file', description: 'where to (berth-support-DATE.tar.gz)', required: false, kind: 'file' }],
  flags: [
    { spec: '--host <host>', description: 'only this host, and the controller', kind: 'host' },
    SELECTOR,
    { spec: '--lines <n>', description: 'of each log so many lines (2000)' },
  ],
  async run(ctx, [named], flags) {
    const file = named ?? `berth-support-${stamp(ctx.clock.now())}.tar.gz`;
    if (file === '-' && ctx.stdout.isTTY) throw invalidArgument('an archive is nothing for a terminal: name a file');
    const api = await ctx.api();
    const request = {
      host: text(flags, 'host') ?? '',
      selector: text(flags, 'selector') ?? '',
      logLines: count(flags, 'lines', 0),
    };
    // asked for once there is a place for it
    const pieces = () => api.stream(api.support, (c) => c.readSupportBundle, request, ctx.signal);
    if (file === '-') return toOutput(ctx, pieces);
    const bytes = await toFile(file, pieces, ctx.signal);
    note(ctx, `${file} written (${formatFileBytes(bytes)}). What is not in it, and why: manifest.json in it`);
  },
};

const stamp = (ms: number): string => new Date(ms).toISOString().slice(0, 19).replaceAll(/[:-]/g, '').replace('T', '-');

type Pieces = () => AsyncIterable<{ readonly data: Uint8Array }>;

async function toOutput({ stdout }: Context, pieces: Pieces): Promise<void> {
  for await (const { data } of pieces()) if (!stdout.write(data)) await once(stdout, 'drain');
}

/** Under another name until it is whole; gone when it never is. */
async function toFile(file: string, pieces: Pieces, signal: AbortSignal): Promise<number> {
  const part = `${file}.part`;
  await refuseExisting(file);
  const handle = await create(part, file);
  let bytes = 0;
  try {
    for await (const { data } of pieces()) {
      await handle.write(data);
      bytes += data.length;
    }
    signal.throwIfAborted();
    await handle.close();
    await rename(part, file);
    return bytes;
  } catch (e) {
    await handle.close().catch(() => undefined);
    await rm(part, { force: true });
    throw e;
  }
}

async function refuseExisting(file: string): Promise<void> {
  const there = await open(file, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => undefined);
  await there?.close();
  if (there) throw alreadyExists(`${file} exists: name another file`);
}

async function create(part: string, file: string): Promise<FileHandle> {
  try {
    await rm(part, { force: true });
    return await open(part, 'wx', 0o600);
  } catch (e) {
    throw badState(`can't write ${file}: ${chain(e)}`);
  }
}

export const supportCommands: readonly Command[] = [supportBundle];
