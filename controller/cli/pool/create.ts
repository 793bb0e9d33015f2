/** berth pool create: a pool on one host, on some, or on all. */
import { CreatePoolRequest } from '@berth/proto/v1/pool.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { POOL_TYPES } from '@berth/shared/model/pool.ts';
import { list, NO_WAIT, SELECTOR, text, yes, type Command, type Flag, type Flags } from '../core/command.ts';
import { readText } from '../core/files.ts';
import { runMany } from '../job/many.ts';

/** Flags of create and set alike. */
export const SETTINGS: readonly Flag[] = [
  { spec: '--warn-at <percent>', description: 'alarm from this much in use on (default 85)' },
  { spec: '--stop-at <percent>', description: 'place nothing more from this much in use on (default 95)' },
  {
    spec: '--overcommit <factor>',
    description: 'what thin disks may grow to, per byte there is (default 1; 1.5: half more than there is)',
  },
];

export const poolCreate: Command = {
  noun: 'pool',
  verb: 'create',
  summary: 'make a storage pool on hosts',
  details: `Nothing is formatted, and no data are removed. Types, and what they need:
  dir           --path                                   a folder of each host, or one that is mounted on all (--shared)
  fs            --path --device                          a file system on a device
  netfs         --path --source-host --source-path       an export of an NFS or Gluster server (--format nfs, glusterfs)
  logical       --source-name                            a volume group of LVM
  iscsi         --source-host --source-path              a target, as devices of the host
  iscsi-direct  --source-host --source-path --initiator  a target, asked by QEMU itself
  scsi          --adapter                                a host bus adapter, as of Fibre Channel
  mpath                                                  multipath devices
  rbd           --source-host --source-name              a pool of Ceph
  gluster       --source-host --source-name              a volume of Gluster, asked by QEMU itself
Berth makes disks in dir, fs, netfs, logical and rbd; it gives LUNs of iscsi, scsi and mpath to VMs as they are (berth volume create --unit);
iscsi-direct and gluster it starts, watches and shows.
Examples:
  berth pool create fast --path /kvm/vdisks --all-hosts
  berth pool create nfs --type netfs --source-host nas --source-path /vms --path /kvm/nfs --shared --host h1,h2`,
  args: [{ name: 'name', description: 'name of the new pool', required: true }],
  flags: [
    { spec: '--type <type>', description: 'what it is (default dir)', choices: [...POOL_TYPES] },
    { spec: '--path <path>', description: 'where its volumes appear on hosts', kind: 'file' },
    { spec: '--host <host>', description: 'on these hosts: h1,h2', kind: 'host', many: true },
    { spec: '--all-hosts', description: 'on all hosts, those that come later too' },
    { ...SELECTOR, description: 'on hosts with such labels: zone=a' },
    { spec: '--shared', description: 'all of them have the same storage' },
    { spec: '--source-host <server>', description: 'its server: NAME or NAME:PORT', many: true },
    { spec: '--source-path <path>', description: 'the exported folder, or the IQN of a target' },
    { spec: '--source-name <name>', description: 'volume group, pool of Ceph, or volume of Gluster' },
    { spec: '--device <device>', description: 'the device: /dev/sdb1', many: true },
    { spec: '--format <format>', description: 'of the file system: ext4, xfs, nfs, glusterfs; default: as it is' },
    { spec: '--initiator <iqn>', description: 'IQN with which iscsi-direct logs in' },
    { spec: '--adapter <adapter>', description: 'scsi_host3, or WWNN:WWPN of a host bus adapter' },
    { spec: '--auth-user <user>', description: 'as whom its server is asked (rbd, iscsi)' },
    { spec: '--auth-secret-file <file>', description: 'with what; a file', kind: 'file' },
    { spec: '--no-autostart', description: 'not by itself when a host boots' },
    ...SETTINGS,
    NO_WAIT,
  ],
  run: (ctx, [name = ''], flags) => {
    const request = createRequest(name, flags);
    return runMany(ctx, {
      noun: 'pool',
      names: [name],
      wait: flags['wait'] !== false,
      start: (api) => api.call(api.pools, (c) => c.createPool, request),
      done: async (api) => {
        const { onHosts, activeCount } = await api.call(api.pools, (c) => c.getPool, { pool: name });
        const on = onHosts.filter((h) => h.state !== 'absent' && h.state !== 'unknown').map((h) => h.host);
        if (on.length > MOST_NAMED) return `created on ${activeCount} hosts`;
        return on.length > 0 ? `created on ${on.join(', ')}` : 'created';
      },
    });
  },
};

const MOST_NAMED = 20;

function createRequest(name: string, flags: Flags): CreatePoolRequest {
  const word = (flag: string): string => text(flags, flag) ?? '';
  const { warnPercent = 0, stopPercent = 0, overcommit = 0 } = settings(flags);
  return CreatePoolRequest.fromPartial({
    ...{ name, shared: yes(flags, 'shared'), allHosts: yes(flags, 'allHosts'), selector: word('selector') },
    hosts: list(flags, 'host').flatMap((h) => h.split(',').filter((w) => w !== '')),
    source: {
      ...{ type: text(flags, 'type') ?? 'dir', targetPath: word('path'), hosts: [...list(flags, 'sourceHost')] },
      ...{ path: word('sourcePath'), name: word('sourceName'), devices: [...list(flags, 'device')] },
      ...{ format: word('format'), initiator: word('initiator'), adapter: word('adapter') },
      authUser: word('authUser'),
    },
    ...{ autostart: flags['autostart'] !== false, warnPercent, stopPercent, overcommit },
    secret: readText(text(flags, 'authSecretFile')).trim(),
  });
}

interface Settings {
  readonly warnPercent?: number;
  readonly stopPercent?: number;
  readonly overcommit?: number;
}

export function settings(flags: Flags): Settings {
  const percent = (flag: string, spec: string): number | undefined => {
    const given = text(flags, flag);
    if (given === undefined) return undefined;
    const [, digits] = /^(\d{1,3})%?$/.exec(given.trim()) ?? [];
    if (digits === undefined || Number(digits) < 1 || Number(digits) > 100)
      throw invalidArgument(`${spec} ${given}: give percent, from 1 to 100`);
    return Number(digits);
  };
  const factor = text(flags, 'overcommit');
  if (factor !== undefined && !/^\d{1,3}(\.\d{1,3})?$/.test(factor))
    throw invalidArgument(`--overcommit ${factor}: give a factor, like 1.5`);
  const [warnPercent, stopPercent] = [percent('warnAt', '--warn-at'), percent('stopAt', '--stop-at')];
  return {
    ...(warnPercent !== undefined && { warnPercent }),
    ...(stopPercent !== undefined && { stopPercent }),
    ...(factor !== undefined && { overcommit: Number(factor) }),
  };
}
