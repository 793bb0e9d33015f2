/** berth vm set: changes what VMs are made of, with the flags of create. */
import { UpdateVmRequest } from '@berth/proto/v1/vm.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { definitionToWire } from '@berth/shared/hardware/definition-wire.ts';
import type { Api } from '../core/api.ts';
import { list, NO_WAIT, RUN_POLICY, yes, type Command, type Flags } from '../core/command.ts';
import { print } from '../core/context.ts';
import { runMany } from '../job/many.ts';
import { changeLines } from '../manifest/show.ts';
import { CHOICE, chosen, someVms } from './choose.ts';
import { DEFINITION_FLAGS, definitionOf, fillForm, parts, type Form } from './definition-flags.ts';
import { specForm } from './document.ts';

const SIZES: Command['flags'] = [
  {
    spec: '--disk <size>',
    description: 'one more disk: 20GiB,bus=scsi; or options of one: target=vda,cache=none',
    many: true,
  },
  { spec: '--memory <size>', description: 'memory: 4GiB,max=8GiB' },
  { spec: '--vcpus <n>', description: 'virtual CPUs: 4,max=8' },
  {
    spec: '--nic <bridge>',
    description: 'one more network card: br0,model=e1000; network=lan; or mac=52:54:00:00:00:01,network=lan',
    many: true,
  },
];

export const vmSet: Command = {
  noun: 'vm',
  verb: 'set',
  summary: 'change what VMs are made of',
  details: `What a running VM can take on at once, it gets at once: vCPUs and memory up to their maximum, media, labels, run policy.
The rest comes with its next start; berth vm show tells what waits.`,
  args: [someVms('VMs to change')],
  flags: [
    ...SIZES,
    ...DEFINITION_FLAGS,
    RUN_POLICY,
    ...CHOICE,
    { spec: '--dry-run', description: 'only show what would change' },
    NO_WAIT,
  ],
  async run(ctx, names, flags) {
    const vms = await chosen(ctx, 'set', names, flags);
    const dryRun = yes(flags, 'dryRun');
    fillForm({}, flags); // before anything is asked of anybody
    if (vms.length > 0)
      await runMany(ctx, {
        ...{ noun: 'vm', names: vms, wait: flags['wait'] !== false },
        start: async (api, vm) => {
          const { jobId, changes } = await change(api, vm, { flags, dryRun });
          if (dryRun) for (const line of [`vm ${vm}:`, ...changeLines(changes)]) print(ctx, line);
          return { jobId };
        },
        done: async (api, vm, job) => (dryRun ? 'not changed' : changed(api, vm, job !== undefined)),
      });
  },
};

async function change(api: Api, vm: string, { flags, dryRun }: { flags: Flags; dryRun: boolean }) {
  const now = await api.call(api.vms, (c) => c.getVm, { vm });
  const form = specForm(now);
  merge(form, flags);
  const spec = { ...definitionToWire(definitionOf(form)), labels: now.spec?.labels ?? {} };
  const request = UpdateVmRequest.fromPartial({ vm: now.name, spec, generation: now.generation, dryRun });
  const answer = await api.call(api.vms, (c) => c.updateVm, request);
  if (answer.changes.length === 0 && dryRun) return { jobId: '', changes: [] };
  return answer;
}

/** "changed", and what waits. */
export async function changed(api: Api, vm: string, job: boolean): Promise<string> {
  const { pending } = await api.call(api.vms, (c) => c.getVm, { vm });
  const late = pending.map((p) => p.field).join(', ');
  return `${job ? 'changed' : 'is so'}${late === '' ? '' : `; at its next start: ${late}`}`;
}

export function merge(form: Form, flags: Flags): void {
  addTo(
    form,
    'disks',
    'target',
    list(flags, 'disk').map((d) => parts(d, 'size')),
  );
  addTo(
    form,
    'nics',
    'mac',
    list(flags, 'nic').map((n) => parts(n, 'bridge')),
  );
  const cdroms = list(flags, 'cdrom').map((c) => (c === 'empty' ? {} : parts(c, 'image')));
  addTo(form, 'cdroms', 'target', cdroms);
  fillForm(form, flags);
}

/** A card is in a network or on a bridge that is named: what is said now goes before what was. */
function unplugged(card: Form, said: Form): Form {
  const { bridge: _, network: __, ...rest } = card;
  return said['bridge'] !== undefined || said['network'] !== undefined ? rest : card;
}

/** What is named as one that is there changes it; any other is one more. */
function addTo(form: Form, field: string, id: string, given: readonly Form[]): void {
  if (given.length === 0) return;
  const all = [...((form[field] as Form[] | undefined) ?? [])];
  for (const g of given) {
    const at = all.findIndex((x) => g[id] !== undefined && x[id] === g[id]);
    if (g[id] !== undefined && at < 0 && field !== 'nics')
      throw invalidArgument(`there is no ${String(g[id])} to change; without ${id} one more is made`);
    if (at >= 0) all[at] = { ...(field === 'nics' ? unplugged(all[at] ?? {}, g) : all[at]), ...g };
    else all.push(g);
  }
  form[field] = all;
}
