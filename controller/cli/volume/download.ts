/** berth volume download: a volume as a file, here or on standard output. */
import { extname } from 'node:path';
import { invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import { text, yes, type Command, type Flags } from '../core/command.ts';
import { note, print, type Context } from '../core/context.ts';
import { shownIn, toFile, toPipe, type Out } from '../core/download-file.ts';
import { download } from '../core/download.ts';
import { createLive } from '../output/live.ts';

const FORMATS = ['qcow2', 'raw', 'vmdk', 'vdi', 'vhdx'];

export const volumeDownload: Command = {
  noun: 'volume',
  verb: 'download',
  summary: 'write a volume to a file, to take it elsewhere',
  details: `Examples:
  berth volume download data data.qcow2
  berth volume download web-vda - --format raw | dd of=/dev/sdx bs=4M
Its host makes the file, with what is in its image, and the bytes come through the controller, which stores nothing. A break is gone over;
what a command that ended too early has left (FILE.part), the same command goes on with; what came is checked by its SHA-256. A disk of
a VM only while that is off: of one that runs, take a copy of one moment (berth image capture) and export that.`,
  args: [
    { name: 'volume', description: 'which: a name, or VM-TARGET', required: true, kind: 'volume' },
    { name: 'file', description: 'where it is written; - for standard output', required: true, kind: 'file' },
  ],
  flags: [
    { spec: '--format <format>', description: 'default: by the ending of the file', choices: FORMATS },
    { spec: '--force', description: 'write over a file that is there' },
  ],
  async run(ctx, [volume = '', path = ''], flags) {
    const format = formatOf(path, flags);
    const out = path === '-' ? toPipe(ctx) : await toFile(path, yes(flags, 'force'), true);
    await fetched(ctx, { volume, format }, out);
    const said = `volume ${volume} downloaded to ${path}: ${formatFileBytes(out.bytes())}, ${format}`;
    if (path === '-') note(ctx, said);
    else print(ctx, said);
  },
};

function formatOf(path: string, flags: Flags): string {
  const said = text(flags, 'format');
  const ending = extname(path).slice(1).toLowerCase();
  const found = said ?? { img: 'raw', qcow: 'qcow2' }[ending] ?? ending;
  if (FORMATS.includes(found)) return found;
  throw invalidArgument(`which format shall ${path} have? Say --format ${FORMATS.join(', ')}`);
}

async function fetched(ctx: Context, wanted: { volume: string; format: string }, out: Out): Promise<void> {
  const live = createLive(ctx);
  try {
    const api = await ctx.api();
    const begun = await api.call(api.exports, (c) => c.exportVolume, wanted);
    live.set('x', `volume ${wanted.volume} is made ready`);
    const show = (done: number, all: number): void =>
      live.set('x', `volume ${wanted.volume} ${formatFileBytes(done)} of ${formatFileBytes(all)}`);
    try {
      await download(ctx, api, begun, shownIn(out, show));
    } catch (e) {
      await api.call(api.jobs, (c) => c.cancelJob, { job: begun.jobId }).catch(() => {});
      throw e;
    }
    await out.end();
  } catch (e) {
    // what has come is gone on with by the next command, unless it was wrong
    await out.drop(!isClusterError(e, 'DIGEST_MISMATCH'));
    throw e;
  } finally {
    live.end();
  }
}
