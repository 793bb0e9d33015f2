/** berth volume resize. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { formatBytes, parseBytes } from '@berth/shared/units/bytes.ts';
import { NO_WAIT, yes, type Command } from '../core/command.ts';
import { runMany } from '../job/many.ts';

export const volumeResize: Command = {
  noun: 'volume',
  verb: 'resize',
  summary: 'change the size of a volume; of a VM that runs, at once',
  details: `The guest sees the new size; its partitions and file systems are its own to grow. A volume becomes smaller only with --shrink, when
its VM is stopped, and only where nothing is cut off; in pools of Ceph, LVM and LUNs never. In pools of files its host needs room for
a copy in its pool local meanwhile. Examples:
  berth volume resize web-vda 40GiB
  berth volume resize data 10GiB --shrink`,
  args: [
    { name: 'volume', description: 'which: a name, or VM-TARGET', required: true, kind: 'volume' },
    { name: 'size', description: 'the new size: 40GiB; or how much more: +10GiB', required: true },
  ],
  flags: [{ spec: '--shrink', description: 'it may become smaller' }, NO_WAIT],
  async run(ctx, [volume = '', size = ''], flags) {
    const more = size.startsWith('+');
    const given = parseBytes(more ? size.slice(1) : size);
    if (given === 0) throw invalidArgument(`${size}: a size above zero is needed`);
    await runMany(ctx, {
      ...{ noun: 'volume', names: [volume], wait: flags['wait'] !== false },
      start: async (api, name) => {
        const now = more ? (await api.call(api.volumes, (c) => c.getVolume, { volume: name })).sizeBytes : 0n;
        const request = { volume: name, sizeBytes: now + BigInt(given), shrink: yes(flags, 'shrink') };
        return api.call(api.volumes, (c) => c.resizeVolume, request);
      },
      done: async (api, name, job) => {
        const { sizeBytes } = await api.call(api.volumes, (c) => c.getVolume, { volume: name });
        return `has ${formatBytes(Number(sizeBytes))}${job ? '' : ' already'}`;
      },
    });
  },
};
