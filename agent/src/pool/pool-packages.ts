/**
 * Which package a host lacks, where libvirt says of a pool only that something went wrong. Pure. The names are Debian's; the role
 * `agent` of the Ansible collection and the suggestions of the package have the same.
 */
import { badState, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { PoolSource, PoolType } from '@berth/shared/model/pool.ts';

interface Lack {
  readonly types: readonly PoolType[];
  /** libvirt's words; absent: it has none of its own. */
  readonly says?: RegExp;
  readonly lacks: (s: PoolSource) => string;
}

/** Types that libvirt knows only with a package of their own: it refuses to define them. */
const DRIVERS: Lack = {
  types: ['rbd', 'gluster', 'iscsi-direct'],
  lacks: ({ type }) => `libvirt-daemon-driver-storage-${type}`,
};

/** What it starts. */
const PROGRAMS: readonly Lack[] = [
  {
    types: ['netfs'],
    says: /unknown filesystem type|helper program/i,
    lacks: ({ format }) => (format === 'glusterfs' ? 'glusterfs-client' : 'nfs-common'),
  },
  { types: ['logical'], says: /cannot find logical volume group/i, lacks: () => 'lvm2' },
  { types: ['iscsi'], says: /iscsiadm.*(status '127'|No such file|Cannot find)/i, lacks: () => 'open-iscsi' },
];

/** Of a pool that libvirt would not define. */
export const lackingDriver = (e: unknown, source: PoolSource): unknown => withWords(e, source, [DRIVERS]);
/** Of one that it could not start. */
export const lackingProgram = (e: unknown, source: PoolSource): unknown => withWords(e, source, PROGRAMS);

function withWords(e: unknown, source: PoolSource, all: readonly Lack[]): unknown {
  if (!isClusterError(e) || e.reason === 'STORAGE_UNAVAILABLE') return e;
  const found = all.find((l) => l.types.includes(source.type) && (l.says?.test(e.message) ?? e.reason === 'INTERNAL'));
  if (found === undefined) return e;
  const name = found.lacks(source);
  return badState(`${e.message.trim()}. Is ${name} installed on this host? (apt-get install ${name})`, {}, e);
}
