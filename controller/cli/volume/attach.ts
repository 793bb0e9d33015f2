/** berth volume attach, detach: disks that come under a VM, and go. */
import { NO_WAIT, text, yes, type Command, type Flag, type Flags } from '../core/command.ts';
import type { Context } from '../core/context.ts';
import { runMany } from '../job/many.ts';

export const BUS: Flag = {
  spec: '--bus <bus>',
  description: 'how the guest sees it (default virtio; one that runs takes virtio and scsi)',
  choices: ['virtio', 'scsi', 'sata', 'ide', 'usb'],
};
export const AS: Flag = {
  spec: '--target <target>',
  description: 'what it is called there: vdb (default: the first free)',
};

export const FORCE: Flag = { spec: '--force', description: 'also the disk that a guest which runs boots from' };

export const volumeAttach: Command = {
  noun: 'volume',
  verb: 'attach',
  summary: 'give a VM a volume as a disk, at once when it runs',
  details: 'A volume is in one VM at a time. Example: berth volume attach web data --bus scsi',
  args: [
    { name: 'vm', description: 'who gets it', required: true, kind: 'vm' },
    { name: 'volume', description: 'a volume that stands alone', required: true, kind: 'volume' },
  ],
  flags: [BUS, AS, NO_WAIT],
  run: (ctx, [vm = '', volume = ''], flags) => attachDisk(ctx, vm, volume, flags),
};

export const attachDisk = (ctx: Context, vm: string, volume: string, flags: Flags): Promise<void> => {
  let id = '';
  return runMany(ctx, {
    ...{ noun: 'volume', names: [volume], wait: flags['wait'] !== false },
    start: async (api, name) => {
      const asked = { volume: name, vm, bus: text(flags, 'bus') ?? '', target: text(flags, 'target') ?? '' };
      const answer = await api.call(api.volumes, (c) => c.attachVolume, asked);
      id = answer.volume?.id ?? '';
      return answer;
    },
    done: async (api) => {
      const now = await api.call(api.volumes, (c) => c.getVolume, { volume: id });
      // it is found by this name from now on
      return `is ${now.target} of vm ${now.vm}${now.name === volume ? '' : `, called ${now.name} there`}`;
    },
  });
};

export const volumeDetach: Command = {
  noun: 'volume',
  verb: 'detach',
  summary: 'take a disk from a VM: it stands alone then, with all that is in it',
  details: `Unmount it in the guest first: a guest that runs is asked to let go of it. Examples:
  berth volume detach web vdb
  berth volume detach web-vdb --name backup`,
  args: [
    { name: 'vm', description: 'whose disk; or the volume alone (web-vdb)', required: true, kind: 'vm' },
    { name: 'disk', description: 'its target (vdb), or the volume', required: false, kind: 'volume' },
  ],
  flags: [{ spec: '--name <name>', description: 'what it shall be called (default: VM-TARGET)' }, FORCE, NO_WAIT],
  run: (ctx, [first = '', disk], flags) => detachDisk(ctx, diskNamed(first, disk), flags),
};

/** `web vdb` is web/vdb; a volume is what it is called. */
const diskNamed = (first: string, disk: string | undefined): string =>
  disk === undefined ? first : /^[a-z]d[a-z]$/.test(disk) ? `${first}/${disk}` : disk;

export const detachDisk = (ctx: Context, volume: string, flags: Flags): Promise<void> => {
  let id = '';
  return runMany(ctx, {
    ...{ noun: 'volume', names: [volume], wait: flags['wait'] !== false },
    start: async (api, name) => {
      const asked = { volume: name, name: text(flags, 'name') ?? '', force: yes(flags, 'force') };
      const answer = await api.call(api.volumes, (c) => c.detachVolume, asked);
      id = answer.volume?.id ?? '';
      return answer;
    },
    done: async (api) => {
      const now = await api.call(api.volumes, (c) => c.getVolume, { volume: id });
      return `detached; it is volume ${now.name}`;
    },
  });
};
