/** What commands that take something out have in common: its format, the download with its line of progress, and what stays of a broken one. */
import { extname } from 'node:path';
import { invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import { createLive } from '../output/live.ts';
import type { Api } from './api.ts';
import { text, type Flags } from './command.ts';
import { note, print, type Context } from './context.ts';
import { shownIn, type Out } from './download-file.ts';
import { download, type Download, type DownloadSink } from './download.ts';

/** What is said, else by the ending of the file. @param ofPipe of standard output, where nothing is said */
export function formatOf(path: string, flags: Flags, formats: readonly string[], ofPipe?: string): string {
  const ending = extname(path).slice(1).toLowerCase();
  const byName = path === '-' ? ofPipe : ({ img: 'raw', qcow: 'qcow2' }[ending] ?? ending);
  const found = text(flags, 'format') ?? byName;
  if (found !== undefined && formats.includes(found)) return found;
  throw invalidArgument(`which format shall ${path} have? Say --format ${formats.join(', ')}`);
}

export interface FileWanted {
  /** "volume data" */
  readonly what: string;
  readonly out: Out;
  begin(api: Api): Promise<Download>;
  /** What becomes of the bytes on their way. */
  through?(sink: DownloadSink): DownloadSink;
  /** What has come of a broken one is kept for the next command, unless it was wrong. */
  readonly keep: boolean;
}

export async function fetchFile(ctx: Context, w: FileWanted): Promise<void> {
  const { what, out, through = (sink) => sink } = w;
  const live = createLive(ctx);
  try {
    const api = await ctx.api();
    let jobId = '';
    const begin = async (): Promise<Download> => {
      const begun = await w.begin(api);
      live.set('x', `${what} is made ready`);
      ({ jobId } = begun);
      return begun;
    };
    const show = (done: number, all: number): void =>
      live.set('x', `${what} ${formatFileBytes(done)} of ${formatFileBytes(all)}`);
    try {
      await download(ctx, api, begin, through(shownIn(out, show)));
    } catch (e) {
      if (jobId !== '') await api.call(api.jobs, (c) => c.cancelJob, { job: jobId }).catch(() => {});
      throw e;
    }
    await out.end();
  } catch (e) {
    await out.drop(w.keep && !isClusterError(e, 'DIGEST_MISMATCH'));
    throw e;
  } finally {
    live.end();
  }
}

/** Where the file itself went to standard output, words go elsewhere. */
export const sayFetched = (ctx: Context, path: string, said: string): void =>
  path === '-' ? note(ctx, said) : print(ctx, said);
