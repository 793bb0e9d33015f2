/** berth vm screenshot: what the guest's screen shows now, as a PNG file. */
import { rename, rm, writeFile } from 'node:fs/promises';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Command } from '../core/command.ts';
import { print } from '../core/context.ts';
import { insistWritable } from '../core/files.ts';

/** Above what hosts send. */
const LARGEST_BYTES = 80 * 2 ** 20;

export const vmScreenshot: Command = {
  noun: 'vm',
  verb: 'screenshot',
  summary: 'save what the screen of a VM shows as a PNG file',
  details: `A file of - writes the picture to standard output.`,
  args: [
    { name: 'vm', description: 'the VM', required: true, kind: 'vm' },
    { name: 'file', description: 'where to put the picture: web.png', required: true, kind: 'file' },
  ],
  flags: [],
  async run(ctx, [vm = '', file = '']) {
    if (file !== '-') insistWritable(file);
    const api = await ctx.api();
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const { data } of api.stream(api.vms, (c) => c.readVmScreenshot, { vm }, ctx.signal)) {
      bytes += data.length;
      if (bytes > LARGEST_BYTES) throw invalidArgument(`the picture of vm ${vm} is too large`);
      parts.push(data);
    }
    if (ctx.signal.aborted) return;
    const png = Buffer.concat(parts);
    if (file === '-') return void ctx.stdout.write(png);
    await replace(file, png);
    print(ctx, `${file}: ${png.readUInt32BE(16)}x${png.readUInt32BE(20)}, the screen of vm ${vm}`);
  },
};

/** Whole or not at all: an older picture stays when there is no room for the new one. */
async function replace(file: string, png: Buffer): Promise<void> {
  const part = `${file}.part`;
  try {
    await writeFile(part, png);
    await rename(part, file);
  } catch (e) {
    await rm(part, { force: true });
    throw invalidArgument(`can't write ${file}: ${(e as Error).message}`);
  }
}
