/** berth vm create: a VM with blank disks, from flags or from a file. */
import { CreateVmRequest } from '@berth/proto/v1/vm.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { definitionToWire } from '@berth/shared/hardware/definition-wire.ts';
import { labels, LABEL, list, NO_WAIT, RUN_POLICY, text, yes, type Command, type Flags } from '../core/command.ts';
import { runMany } from '../job/many.ts';
import { applyFile } from '../manifest/create-file.ts';
import { ALLOW_TAKEN_IP, DEFINITION_FLAGS, definitionOf, fillForm, parts, type Form } from './definition-flags.ts';
import { POOL } from './pool-flag.ts';
import { IDENTITY_FLAGS, identityRequest } from './clone-identity.ts';
import { unlessThere } from './there.ts';

const flags: Command['flags'] = [
  {
    spec: '-f, --file <file>',
    description: 'what is in this file (- is standard input); no other flags then',
    kind: 'file',
  },
  {
    spec: '--disk <size>',
    description: 'a disk: 20GiB,bus=scsi,cache=none,image=base,pool=fast; none: no disk',
    many: true,
  },
  { spec: '--memory <size>', description: 'memory (default 512MiB): 1GiB,max=2GiB' },
  { spec: '--vcpus <n>', description: 'virtual CPUs (default 1): 2,max=4' },
  { spec: '--host <host>', description: 'put them on this host', kind: 'host' },
  POOL,
  {
    spec: '--nic <bridge>',
    description: 'a network card: br0,model=e1000,mac=52:54:00:00:00:01; network=lan; none: no card',
    many: true,
  },
  { spec: '--bridge <name>', description: 'bridge of the first network card (default br0)' },
  { spec: '--mac <mac>', description: 'MAC address; only with one name' },
  ALLOW_TAKEN_IP,
  ...IDENTITY_FLAGS,
  ...DEFINITION_FLAGS,
  RUN_POLICY,
  LABEL,
  { spec: '--start', description: 'start them when they are made' },
  { spec: '--dry-run', description: 'only check, and say where they would go' },
  NO_WAIT,
];

export const vmCreate: Command = {
  noun: 'vm',
  verb: 'create',
  summary: 'make VMs with blank disks, or from a file',
  details: `Examples:
  berth vm create web --disk 20GiB --memory 2GiB --vcpus 2,max=4
  berth vm create db --disk size=20GiB,bus=scsi,cache=none --disk 100GiB --nic br0,model=e1000
  berth vm create c7 --cdrom centos --disk 10GiB --os-variant rhel7 --start
  berth vm create -f web.yaml`,
  args: [{ name: 'names', description: 'names of the new VMs', required: false, many: true }],
  flags,
  async run(ctx, names, given) {
    const file = text(given, 'file');
    if (file !== undefined) return applyFile(ctx, { file, names, flags: given });
    if (names.length === 0) throw invalidArgument('what shall they be called? Give names, or a file with -f FILE');
    if (names.length > 1 && text(given, 'mac')) throw invalidArgument('--mac belongs to one VM; give one name');
    const request = createRequest(given);
    await runMany(ctx, {
      noun: 'vm',
      names,
      wait: given['wait'] !== false,
      start: (api, name) =>
        unlessThere(api, names, { name, image: '' }, () => api.call(api.vms, (c) => c.createVm, { ...request, name })),
      done: async (api, name, job, follow) => {
        if (request.dryRun) return 'would fit';
        const { host } = await api.call(api.vms, (c) => c.getVm, { vm: name });
        const made = job ? `created on ${host}` : `is on ${host} already`;
        if (!yes(given, 'start')) return made;
        const { jobId } = await api.call(api.vms, (c) => c.startVm, { vm: name });
        return (await follow(jobId)) || job ? `${made}, started` : `${made}, runs`;
      },
      advice: 'Finish the rest with the same command; what exists is left alone.',
    });
  },
};

function createRequest(given: Flags): CreateVmRequest {
  const form: Form = {};
  const disks = list(given, 'disk');
  const nics = list(given, 'nic');
  fillForm(form, given);
  fillDrives(form, { disks, nics, cdroms: list(given, 'cdrom') });
  if (disks.length === 0 && !Array.isArray(form['disks']))
    throw invalidArgument(
      'how large is the disk to be? Say --disk SIZE, for example --disk 20GiB (--disk none: it gets none)',
    );
  return CreateVmRequest.fromPartial({
    spec: definitionToWire(definitionOf(form)),
    noDisks: disks.includes('none'),
    noNics: nics.includes('none'),
    ...{ host: text(given, 'host') ?? '', bridge: text(given, 'bridge') ?? '', mac: text(given, 'mac') ?? '' },
    ...identityRequest(given),
    ...{ labels: labels(given), dryRun: yes(given, 'dryRun'), start: yes(given, 'start') },
    ...(yes(given, 'allowTakenIp') && { allowTakenAddress: true }),
    pool: text(given, 'pool'),
  });
}

interface Drives {
  readonly disks: readonly string[];
  readonly nics: readonly string[];
  readonly cdroms: readonly string[];
}

/** `none` alone means that there shall be none. */
export function fillDrives(form: Form, { disks, nics, cdroms }: Drives): void {
  const all = (flag: string, given: readonly string[], first: string): Form[] => {
    if (given.includes('none') && given.length > 1) throw invalidArgument(`--${flag} none, and another: choose`);
    return given.filter((v) => v !== 'none').map((v) => parts(v, first));
  };
  if (disks.length > 0) form['disks'] = all('disk', disks, 'size');
  if (nics.length > 0) form['nics'] = all('nic', nics, 'bridge');
  if (cdroms.length > 0)
    form['cdroms'] = cdroms.map((v) => (v === 'empty' ? {} : parts(v.replace(/^empty,/, ''), 'image')));
}
