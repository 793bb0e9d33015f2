/** berth vm insert, eject: what is in the CD-ROM drives, while a VM runs or not. */
import { UpdateVmRequest } from '@berth/proto/v1/vm.ts';
import { badState, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Api } from '../core/api.ts';
import { NO_WAIT, text, yes, type Command, type Flag } from '../core/command.ts';
import { runMany } from '../job/many.ts';
import { CHOICE, chosen, someVms } from './choose.ts';
import { changed } from './set.ts';

const DRIVE: Flag = { spec: '--drive <target>', description: 'which drive, where there are several: sda, hdc' };

export const vmInsert: Command = {
  noun: 'vm',
  verb: 'insert',
  summary: "put an image into a VM's CD-ROM drive",
  details: 'A VM without a drive gets one at its next start: berth vm set VM --cdrom IMAGE',
  args: [
    { name: 'vm', description: 'whose drive', required: true, kind: 'vm' },
    { name: 'image', description: 'the medium', required: true, kind: 'image' },
  ],
  flags: [DRIVE, { spec: '--force', description: 'also when the guest has locked the drive' }, NO_WAIT],
  run: (ctx, [vm = '', image = ''], flags) =>
    runMany(ctx, {
      ...{ noun: 'vm', names: [vm], wait: flags['wait'] !== false },
      start: (api, name) => medium(api, name, { image, drive: text(flags, 'drive'), force: yes(flags, 'force') }),
      done: (api, name, job) => changed(api, name, job !== undefined),
    }),
};

export const vmEject: Command = {
  noun: 'vm',
  verb: 'eject',
  summary: 'take the medium out of the CD-ROM drives of VMs',
  args: [someVms('whose drives')],
  flags: [DRIVE, { spec: '--force', description: 'also when the guest has locked the drive' }, ...CHOICE, NO_WAIT],
  async run(ctx, names, flags) {
    const vms = await chosen(ctx, 'eject', names, flags);
    if (vms.length > 0)
      await runMany(ctx, {
        ...{ noun: 'vm', names: vms, wait: flags['wait'] !== false },
        start: (api, name) => medium(api, name, { image: '', drive: text(flags, 'drive'), force: yes(flags, 'force') }),
        done: (api, name, job) => changed(api, name, job !== undefined),
      });
  },
};

interface Wanted {
  /** Empty: none. */
  readonly image: string;
  readonly drive: string | undefined;
  readonly force: boolean;
}

async function medium(api: Api, vm: string, { image, drive, force }: Wanted) {
  const { name, spec, generation } = await api.call(api.vms, (c) => c.getVm, { vm });
  const drives = spec?.cdroms ?? [];
  const meant = drives.filter((d) => (drive === undefined ? image !== '' || d.image !== '' : d.target === drive));
  if (drives.length === 0)
    throw badState(`vm ${name} has no CD-ROM drive: berth vm set ${name} --cdrom ${image || 'IMAGE'}`);
  if (drive !== undefined && meant.length === 0)
    throw invalidArgument(`vm ${name} has no drive ${drive}: it has ${drives.map((d) => d.target).join(', ')}`);
  if (meant.length > 1 && image !== '')
    throw invalidArgument(`vm ${name} has drives ${drives.map((d) => d.target).join(', ')}: say which with --drive`);
  const cdroms = drives.map((d) => (meant.includes(d) ? { ...d, image } : d));
  const request = { vm: name, generation, spec: { ...spec, cdroms }, forceEject: force };
  return api.call(api.vms, (c) => c.updateVm, UpdateVmRequest.fromPartial(request));
}
