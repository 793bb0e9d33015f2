/** berth vm snapshot create, revert, delete. What is shown of them is snapshot-view.ts's. */
import { errorLine, EXIT } from '../core/exit.ts';
import { vmStateWord } from '../core/words.ts';
import { NO_WAIT, text, yes, type Argument, type Command } from '../core/command.ts';
import { note, type Context } from '../core/context.ts';
import { runMany } from '../job/many.ts';

export const VM: Argument = { name: 'vm', description: 'the VM', required: true, kind: 'vm' };

const HOW: Readonly<Record<string, string>> = {
  memory: ', with its memory',
  frozen: ', of its disks, with file systems frozen',
  'crash-consistent': ', of its disks, as after a power cut',
};

export const snapshotCreate: Command = {
  ...{ noun: 'vm', group: 'snapshot', verb: 'create' },
  summary: 'keep what a VM is now, to go back to it',
  details: `Examples:
  berth vm snapshot create web before-upgrade --description "before 12.4"
  berth vm snapshot create web --disk-only
Snapshots are inside the VM's own qcow2 disks. Of a VM that runs, its memory is kept too, and its guest stands still until that is
written: seconds per GiB. With --disk-only it goes on; its disks are kept as they are at one moment, with file systems frozen where an
agent in the guest can (see berth vm freeze), and it boots after a revert. While a disk is in a snapshot it cannot be resized,
converted, moved, wiped or detached. Raw disks, and pools of Ceph and LVM, have none. Of a VM that boots by UEFI, or has a device of
its host, a snapshot has no memory, and never the variables of UEFI.`,
  args: [VM, { name: 'name', description: 'its name (default: the time)', required: false }],
  flags: [
    { spec: '--description <text>', description: 'what it is for' },
    { spec: '--disk-only', description: 'of a VM that runs: without its memory, and without standing still' },
    { spec: '--memory', description: 'of a VM that runs: with its memory (the default)' },
    NO_WAIT,
  ],
  async run(ctx, [vm = '', name = ''], flags) {
    let made = '';
    await runMany(ctx, {
      ...{ noun: 'vm', names: [vm], wait: flags['wait'] !== false },
      start: async (api) => {
        const diskOnly = yes(flags, 'diskOnly');
        const request = { vm, name, description: text(flags, 'description') ?? '', diskOnly };
        const r = await api.call(api.snapshots, (c) => c.createSnapshot, request);
        made = r.snapshot?.name ?? name;
        return r;
      },
      done: async (_api, _vm, job) => {
        const how = job?.steps.find((s) => s.name === 'snapshot')?.detail ?? '';
        return `snapshot ${made} made${HOW[how] ?? ''}`;
      },
    });
  },
};

export const snapshotRevert: Command = {
  ...{ noun: 'vm', group: 'snapshot', verb: 'revert' },
  summary: 'make a VM what it was in a snapshot; what its disks hold now is lost',
  details: `Examples:
  berth vm snapshot revert web before-upgrade --force
  berth vm snapshot revert web before-upgrade --start
With memory, its guest goes on where it was then; without, the VM is off (--start boots it). The definition of the VM stays as it is
now: memory, vCPUs and devices are not taken back. A guest that goes on with its memory has those of then until its next start, and
berth vm show tells what is pending. All snapshots stay.`,
  args: [VM, { name: 'snapshot', description: 'its name', required: true, kind: 'snapshot' }],
  flags: [
    { spec: '--force', description: 'also when it runs or is saved: that is lost' },
    { spec: '--start', description: 'start it afterwards, where it is off then' },
    NO_WAIT,
  ],
  async run(ctx, [vm = '', snapshot = ''], flags) {
    await runMany(ctx, {
      ...{ noun: 'vm', names: [vm], wait: flags['wait'] !== false },
      start: (api) => api.call(api.snapshots, (c) => c.revertSnapshot, { vm, snapshot, force: yes(flags, 'force') }),
      done: async (api, _vm, _job, follow) => {
        const words = `is as it was in ${snapshot}`;
        const now = await api.call(api.vms, (c) => c.getVm, { vm });
        const state = vmStateWord(now.state);
        if (!yes(flags, 'start') || !['stopped', 'crashed'].includes(state)) return `${words}, ${state}`;
        const { jobId } = await api.call(api.vms, (c) => c.startVm, { vm, discardSaved: false, bootOnce: '' });
        await follow(jobId);
        return `${words}, started`;
      },
    });
    if (yes(flags, 'start') && flags['wait'] === false)
      note(ctx, `It is not started: that takes the revert to end. Then: berth vm start ${vm}`);
  },
};

export const snapshotDelete: Command = {
  ...{ noun: 'vm', group: 'snapshot', verb: 'delete' },
  summary: 'delete snapshots of a VM; what its disks hold now stays',
  args: [VM, { name: 'snapshots', description: 'their names', required: true, many: true, kind: 'snapshot' }],
  flags: [NO_WAIT],
  async run(ctx, [vm = '', ...names], flags) {
    for (const snapshot of names) {
      const deleting = deleteOne(ctx, vm, snapshot, flags['wait'] !== false || names.length > 1);
      if (names.length === 1) return deleting;
      // one after the other: they have their VM in common
      await deleting.catch((e: unknown) => {
        note(ctx, errorLine(e));
        ctx.fail(EXIT.failed);
      });
    }
  },
};

const deleteOne = (ctx: Context, vm: string, snapshot: string, wait: boolean): Promise<void> =>
  runMany(ctx, {
    ...{ noun: 'vm', names: [vm], wait },
    start: (api) => api.call(api.snapshots, (c) => c.deleteSnapshot, { vm, snapshot }),
    done: async () => `snapshot ${snapshot} deleted`,
  });
