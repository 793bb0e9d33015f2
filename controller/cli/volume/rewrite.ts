/** berth volume convert, sparsify, wipe: of volumes that no guest runs with. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { KEPT_FORMATS } from '@berth/shared/model/volume.ts';
import { NO_WAIT, text, yes, type Command } from '../core/command.ts';
import { runMany } from '../job/many.ts';

const VOLUMES = { name: 'volumes', description: 'which: names, or VM-TARGET', required: true, many: true } as const;

export const volumeConvert: Command = {
  noun: 'volume',
  verb: 'convert',
  summary: 'write volumes anew in another format',
  details: `A disk of a VM only while that is off. The old one is gone when the new one is whole, so there must be room for both. A raw volume is based
on no image: what was in that is in the volume then. Volumes that stand alone can also be kept as vmdk, vdi or vhdx, for other programs: no
VM runs with these, until they are converted back. In pools of Ceph, LVM and LUNs all is raw, and stays so: take it as a file of the
format (berth volume download), or move it to pool local first. In pools of files a volume becomes raw or qcow2 where it lies; its host
needs room for the new file in its pool local meanwhile. Examples:
  berth volume convert data --to raw
  berth volume convert data --to vmdk`,
  args: [{ ...VOLUMES, kind: 'volume' }],
  flags: [
    { spec: '--to <format>', description: 'what it shall be', choices: KEPT_FORMATS },
    { spec: '--format <format>', description: 'the same' },
    NO_WAIT,
  ],
  async run(ctx, names, flags) {
    const format = text(flags, 'to') ?? text(flags, 'format');
    if (format === undefined) throw invalidArgument(`what shall they be? Say --to ${KEPT_FORMATS.join(', ')}`);
    await runMany(ctx, {
      ...{ noun: 'volume', names, wait: flags['wait'] !== false },
      start: (api, volume) => api.call(api.volumes, (c) => c.convertVolume, { volume, format }),
      done: async (api, volume, job) => {
        const now = await api.call(api.volumes, (c) => c.getVolume, { volume });
        return `is ${now.format}${job ? '' : ' already'}`;
      },
    });
  },
};

export const volumeSparsify: Command = {
  noun: 'volume',
  verb: 'sparsify',
  summary: 'give the room back that zeros take in volumes',
  details: `A disk of a VM only while that is off. What a guest deleted is seldom zero: have it trim (fstrim) or fill its free room with zeros first.
What the volume is based on stays below it. In pools of files its host needs room for the new file in its pool local meanwhile; in pools
of Ceph, LVM and LUNs nothing is given back. Example:
  berth volume sparsify web-vda`,
  args: [{ ...VOLUMES, kind: 'volume' }],
  flags: [NO_WAIT],
  run: (ctx, names, flags) =>
    runMany(ctx, {
      ...{ noun: 'volume', names, wait: flags['wait'] !== false },
      start: (api, volume) => api.call(api.volumes, (c) => c.sparsifyVolume, { volume }),
      done: async () => 'written anew',
    }),
};

export const volumeWipe: Command = {
  noun: 'volume',
  verb: 'wipe',
  summary: 'overwrite all that volumes hold',
  details: `A disk of a VM only while that is off. It is blank afterwards, or its image again. In pools of files its host writes over what is not
zero, and needs room for the blank file. SSDs, and file systems that copy on write, may keep
what was overwritten all the same: against who can take the disk out, encrypt it. Examples:
  berth volume wipe data
  berth volume wipe data --delete`,
  args: [{ ...VOLUMES, kind: 'volume' }],
  flags: [{ spec: '--delete', description: 'and remove them then' }, NO_WAIT],
  async run(ctx, names, flags) {
    const remove = yes(flags, 'delete');
    await runMany(ctx, {
      // what is deleted must have been wiped
      ...{ noun: 'volume', names, wait: remove || flags['wait'] !== false },
      start: (api, volume) => api.call(api.volumes, (c) => c.wipeVolume, { volume }),
      done: async (api, volume) => {
        if (remove) await api.call(api.volumes, (c) => c.deleteVolume, { volume });
        return remove ? 'wiped; it is being deleted' : 'wiped';
      },
    });
  },
};
