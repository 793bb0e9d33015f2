/** berth vm clone: many VMs from one image, each on the host that the scheduler chose. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { sshKeyLines } from '@berth/shared/trust/ssh-key.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { CloneVmsRequest } from '@berth/proto/v1/batch.ts';
import { VmSpec, type CloneVmRequest } from '@berth/proto/v1/vm.ts';
import { definitionToWire } from '@berth/shared/hardware/definition-wire.ts';
import {
  bytes,
  count,
  labels,
  LABEL,
  list,
  NO_WAIT,
  RUN_POLICY,
  text,
  yes,
  type Command,
  type Flags,
} from '../core/command.ts';
import { print } from '../core/context.ts';
import { warnOfUserData } from './user-data.ts';
import { BATCH_DETAILS, BATCH_FLAGS, cloneMany, isBatch, lookAt } from './clone-batch.ts';
import { fillDrives } from './create.ts';
import { ALLOW_TAKEN_IP, DEFINITION_FLAGS, definitionOf, fillForm, type Form } from './definition-flags.ts';
import { expandNames } from './expand-names.ts';
import { runMany } from '../job/many.ts';
import { cloneSource, SOURCE_FLAGS } from './clone-images.ts';
import { POOL } from './pool-flag.ts';
import { IDENTITY_FLAGS, identityRequest } from './clone-identity.ts';
import { cloneKind, KIND_FLAGS } from './clone-instant.ts';
import { unlessThere } from './there.ts';
import { readText } from '../core/files.ts';

export const vmClone: Command = {
  noun: 'vm',
  verb: 'clone',
  summary: 'make VMs from an image, or from a VM',
  details: `Examples:
  berth vm clone base web db
  berth vm clone base web-{01..20} --memory 2GiB --vcpus 2
  berth vm clone base big --disk-size 20GiB --host h2 --ip 10.0.0.5/24 --gateway 10.0.0.1
  berth vm clone web web2 web3                  web is a VM: its disks are captured once, then cloned
  berth vm clone template test02 --ip 192.168.174.13/16 --vnc-port 5902
  berth vm clone base web-{01..20} --ip-range 10.0.0.10-10.0.0.40/24 --gateway 10.0.0.1 --start
  berth vm clone base --from hosts.csv --atomic
${BATCH_DETAILS}`,
  args: [
    { name: 'image', description: 'image to clone, or VM', required: true, kind: 'image' },
    { name: 'names', description: 'names of the new VMs: web db, web-{01..20}', required: false, many: true },
  ],
  flags: [
    { spec: '--disk-size <size>', description: "size of the disk, at least the image's (20GiB)" },
    { spec: '--memory <size>', description: 'memory (default 512MiB): 1GiB,max=2GiB' },
    { spec: '--vcpus <n>', description: 'virtual CPUs (default 1): 2,max=4' },
    { spec: '--host <host>', description: 'put them on this host', kind: 'host' },
    ...BATCH_FLAGS,
    POOL,
    { spec: '--nic <bridge>', description: 'a network card: br0,model=e1000; network=lan; none: no card', many: true },
    { spec: '--bridge <name>', description: 'bridge of the network card (default br0)' },
    { spec: '--mac <mac>', description: 'MAC address; only with one name' },
    { spec: '--ip <cidr>', description: 'address given to the guest, 10.0.0.5/24; only with one name' },
    ALLOW_TAKEN_IP,
    { spec: '--gateway <ip>', description: 'default gateway given to the guest' },
    { spec: '--dns <ip>', description: 'name server given to the guest', many: true },
    { spec: '--ssh-key <file>', description: 'public key that may log in', kind: 'file', many: true },
    { spec: '--user-data <file>', description: 'cloud-init user-data for the guest', kind: 'file' },
    ...DEFINITION_FLAGS,
    ...IDENTITY_FLAGS,
    RUN_POLICY,
    LABEL,
    { spec: '--start', description: 'start them when they are made' },
    { spec: '--dry-run', description: 'only say where they would go' },
    ...SOURCE_FLAGS,
    ...KIND_FLAGS,
    NO_WAIT,
  ],
  async run(ctx, [said = '', ...given], flags) {
    const all = expandNames(given);
    if (isBatch(all, flags)) return cloneMany(ctx, { said, names: all, flags, requestOf: cloneRequest });
    if (all.length === 0) throw invalidArgument('what shall they be called? Give names, or a table with --from FILE');
    if (all.length > 1 && (text(flags, 'mac') || text(flags, 'ip')))
      throw invalidArgument('--mac and --ip belong to one VM; give one name, or a table (--from)');
    const asked = cloneRequest(said, flags); // once: what files are named may be pipes
    warnOfUserData(ctx, [asked.userData]);
    const look = lookAt(ctx, rowsOf(all, flags, asked));
    const { image, names } = await cloneSource(ctx, said, { names: all, flags, look });
    if (image === undefined) return;
    const request = { ...asked, image };
    if (yes(flags, 'dryRun')) {
      const api = await ctx.api();
      for (const name of names) {
        const { vm } = await api.call(api.vms, (c) => c.cloneVm, { ...request, name, dryRun: true });
        print(
          ctx,
          `vm ${name} would go to ${vm?.host}, disk ${formatBytes(Number(vm?.spec?.disks[0]?.sizeBytes ?? 0n))}`,
        );
      }
      return;
    }
    await runMany(ctx, {
      noun: 'vm',
      names,
      wait: flags['wait'] !== false,
      start: (api, name) =>
        unlessThere(api, names, { name, image }, () => api.call(api.vms, (c) => c.cloneVm, { ...request, name })),
      done: async (api, name, job, follow) => {
        const { host } = await api.call(api.vms, (c) => c.getVm, { vm: name });
        const made = job ? `created on ${host}` : `is on ${host} already`;
        if (!yes(flags, 'start')) return made;
        const { jobId } = await api.call(api.vms, (c) => c.startVm, { vm: name });
        const followed = await follow(jobId);
        // a new one may run already: the controller starts it too
        return followed || job ? `${made}, started` : `${made}, runs`;
      },
      advice: 'Finish the rest with the same command; what exists is left alone.',
    });
  },
};

/** The same as one request, to be looked at as a whole. */
const rowsOf = (names: readonly string[], flags: Flags, all: CloneVmRequest): CloneVmsRequest =>
  CloneVmsRequest.fromPartial({
    ...{ all, dryRun: yes(flags, 'dryRun') },
    rows: names.map((name) => ({ name, mac: all.mac, address: all.address })),
  });

function cloneRequest(image: string, flags: Flags): CloneVmRequest {
  const spec = specOf(flags);
  return {
    image,
    name: '',
    diskSizeBytes: bytes(flags, 'diskSize', '--disk-size'),
    memoryBytes: plain(flags, 'memory') ? bytes(flags, 'memory', '--memory') : 0n,
    vcpus: plain(flags, 'vcpus') ? count(flags, 'vcpus', 0) : 0,
    host: text(flags, 'host') ?? '',
    bridge: text(flags, 'bridge') ?? '',
    mac: text(flags, 'mac') ?? '',
    address: text(flags, 'ip') ?? '',
    gateway: text(flags, 'gateway') ?? '',
    dns: [...list(flags, 'dns')],
    sshKeys: list(flags, 'sshKey').flatMap((f) => sshKeyLines(readText(f))),
    userData: readText(text(flags, 'userData')),
    labels: labels(flags),
    runPolicy: text(flags, 'runPolicy'),
    dryRun: false,
    ...identityRequest(flags),
    start: yes(flags, 'start'),
    kind: cloneKind(flags),
    ...(yes(flags, 'allowTakenIp') && { allowTakenAddress: true }),
    ...(list(flags, 'nic').includes('none') && { noNics: true }),
    ...(spec && { spec }),
    pool: text(flags, 'pool'),
  };
}

/** `2GiB`, and not `2GiB,max=4GiB`. */
const plain = (flags: Flags, name: string): boolean => !(text(flags, name) ?? '').includes(',');

/** What was said beyond the fields of the request. */
function specOf(flags: Flags): VmSpec | undefined {
  const form: Form = {};
  const said = ['runPolicy', ...['memory', 'vcpus'].filter((name) => plain(flags, name))];
  fillForm(form, Object.fromEntries(Object.entries(flags).filter(([name]) => !said.includes(name))));
  fillDrives(form, { disks: [], nics: list(flags, 'nic'), cdroms: list(flags, 'cdrom') });
  return Object.keys(form).length === 0 ? undefined : VmSpec.fromPartial(definitionToWire(definitionOf(form)));
}
