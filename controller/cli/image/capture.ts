/** berth image capture: an image of a VM, running or not. */
import { list, NO_WAIT, text, yes, type Command } from '../core/command.ts';
import { shortDigest } from '../core/words.ts';
import { runMany } from '../job/many.ts';

export const imageCapture: Command = {
  noun: 'image',
  verb: 'capture',
  summary: 'make an image of a VM, running or not',
  details: `Examples:
  berth image capture web --name debian:12.4
  berth image capture web --name db-data:1 --disk vdb
  berth image capture web --name debian:12.4 --generalize
  berth image capture web --name debian:12.3 --snapshot before-upgrade
Of a VM that runs, its disks are taken as they are at one moment: with file systems frozen where an agent in its guest can (see
berth vm freeze), else as after a power cut, and the job says which. The VM is as it was, and locked meanwhile. VMs made of the image get
its memory, vCPUs and devices where nothing else is said. With --generalize, machine id, SSH host keys, MAC addresses, leases, logs, histories and the state of cloud-init are taken out of the
first disk of the image (Linux guests; its host needs guestfish). With --snapshot, its disks are taken as they were then (see berth vm snapshot).`,
  args: [{ name: 'vm', description: 'the VM', required: true, kind: 'vm' }],
  flags: [
    { spec: '--name <name>', description: "name of the image, with a version: debian:12.4 (default: the VM's name)" },
    { spec: '--disk <target>', description: 'the disk (default: the first); each becomes an image', many: true },
    { spec: '--snapshot <name>', description: 'as it was in this snapshot', kind: 'snapshot' },
    { spec: '--generalize', description: 'take out what makes its guest one machine among others' },
    NO_WAIT,
  ],
  async run(ctx, [vm = ''], flags) {
    const names: string[] = [];
    await runMany(ctx, {
      ...{ noun: 'vm', names: [vm], wait: flags['wait'] !== false },
      start: async (api) => {
        const request = {
          vm,
          name: text(flags, 'name') ?? '',
          disks: [...list(flags, 'disk')],
          hidden: false,
          generalize: yes(flags, 'generalize'),
          snapshot: text(flags, 'snapshot') ?? '',
        };
        const made = await api.call(api.captures, (c) => c.captureImage, request);
        names.push(...made.images.map((i) => i.name));
        return made;
      },
      done: async (api, _vm, job) => {
        const images = await Promise.all(names.map((image) => api.call(api.images, (c) => c.getImage, { image })));
        const how = job?.steps.find((s) => s.name === 'copy')?.detail ?? '';
        const general = job?.steps.find((s) => s.name === 'generalize')?.detail ?? '';
        const said = images.map((i) => `image ${i.name} ${shortDigest(i.digest)}`).join(', ');
        const words = [how, general].filter((w) => w !== '').join('; ');
        return `captured as ${said}${words === '' ? '' : ` (${words})`}`;
      },
    });
  },
};
