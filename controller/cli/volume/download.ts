/** berth volume download: a volume as a file, here or on standard output. */
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import type { Api } from '../core/api.ts';
import { yes, type Command } from '../core/command.ts';
import { toFile, toPipe } from '../core/download-file.ts';
import { fetchFile, formatOf, sayFetched } from '../core/fetch-file.ts';

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
a VM only while that is off: of one that runs, take a copy of one moment (berth image capture) and export that. A volume in a pool of Ceph,
LVM or LUNs is read into a file first: its host needs room for what it holds in its pool local, twice unless the format is raw.`,
  args: [
    { name: 'volume', description: 'which: a name, or VM-TARGET', required: true, kind: 'volume' },
    { name: 'file', description: 'where it is written; - for standard output', required: true, kind: 'file' },
  ],
  flags: [
    { spec: '--format <format>', description: 'default: by the ending of the file; qcow2 for -', choices: FORMATS },
    { spec: '--force', description: 'write over a file that is there' },
  ],
  async run(ctx, [volume = '', path = ''], flags) {
    const format = formatOf(path, flags, FORMATS, 'qcow2');
    const out = path === '-' ? toPipe(ctx) : await toFile(path, yes(flags, 'force'), true);
    const begin = (api: Api) => api.call(api.exports, (c) => c.exportVolume, { volume, format });
    await fetchFile(ctx, { what: `volume ${volume}`, out, begin, keep: true });
    sayFetched(ctx, path, `volume ${volume} downloaded to ${path}: ${formatFileBytes(out.bytes())}, ${format}`);
  },
};
