/**
 * The rules of pools: what each type needs, and which paths may become one. The same on both sides of the wire. Pure; what a host
 * has to say about a path is agent/src/pool's.
 */
import { invalidArgument } from '../errors/cluster-error.ts';
import { POOL_TYPES, type PoolSource, type PoolType } from '../model/pool.ts';

type Field = Exclude<keyof PoolSource, 'type'>;

interface TypeRules {
  readonly needs: readonly Field[];
  readonly may: readonly Field[];
  readonly formats?: readonly string[];
  /** Where the volumes of this type always appear. */
  readonly target?: (s: PoolSource) => string;
}

const BY_PATH = '/dev/disk/by-path';

const RULES: Readonly<Record<PoolType, TypeRules>> = {
  dir: { needs: ['targetPath'], may: [] },
  fs: {
    needs: ['targetPath', 'devices'],
    may: ['format'],
    formats: ['auto', 'ext2', 'ext3', 'ext4', 'xfs', 'vfat', 'gfs2', 'ocfs2'],
  },
  netfs: { needs: ['targetPath', 'hosts', 'path'], may: ['format'], formats: ['auto', 'nfs', 'glusterfs'] },
  logical: { needs: ['name'], may: ['devices'], target: (s) => `/dev/${s.name}` },
  iscsi: { needs: ['hosts', 'path'], may: ['initiator', 'authUser'], target: () => BY_PATH },
  'iscsi-direct': { needs: ['hosts', 'path', 'initiator'], may: ['authUser'] },
  scsi: { needs: ['adapter'], may: [], target: () => BY_PATH },
  mpath: { needs: [], may: [], target: () => '/dev/mapper' },
  rbd: { needs: ['hosts', 'name'], may: ['authUser'] },
  gluster: { needs: ['hosts', 'name'], may: ['path'] },
};

/** How the flags of the command line call them, for refusals. */
export const FIELD_FLAGS: Readonly<Record<Field, string>> = {
  targetPath: '--path',
  hosts: '--source-host',
  path: '--source-path',
  name: '--source-name',
  devices: '--device',
  format: '--format',
  initiator: '--initiator',
  adapter: '--adapter',
  authUser: '--auth-user',
};

const HOST = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?)(:\d{1,5})?$/;
const SOURCE_NAME = /^[A-Za-z0-9_.][A-Za-z0-9_.+-]{0,126}$/;
const IQN = /^(iqn|eui|naa)\.[A-Za-z0-9][A-Za-z0-9.:_-]{0,220}$/;
const ADAPTER = /^(scsi_host\d{1,4}|[0-9a-fA-F]{16}:[0-9a-fA-F]{16})$/;
const USER = /^[A-Za-z0-9_.@-]{1,128}$/;
const MOST = 32;

/** @throws INVALID_ARGUMENT, one line per fault. @returns it with the places filled in that the type decides. */
export function checkPoolSource(what: string, s: PoolSource): PoolSource {
  const rules = RULES[s.type] as TypeRules | undefined;
  if (rules === undefined)
    throw invalidArgument(`${what}: ${shown(s.type)} is no type of pool: ${POOL_TYPES.join(', ')}`);
  const full = rules.target && s.targetPath === '' ? { ...s, targetPath: rules.target(s) } : s;
  const faults = [...fieldFaults(s, rules), ...valueFaults(full, rules)];
  if (faults.length > 0) throw invalidArgument(faults.map((f) => `${what}: ${f}`).join('\n'));
  return full;
}

function fieldFaults(s: PoolSource, rules: TypeRules): string[] {
  const given = (f: Field): boolean => s[f].length > 0;
  const decided: readonly Field[] = rules.target ? ['targetPath'] : [];
  const known: readonly Field[] = [...rules.needs, ...rules.may, ...decided];
  const missing = rules.needs.filter((f) => !given(f)).map((f) => `a pool of type ${s.type} needs ${FIELD_FLAGS[f]}`);
  const extra = (Object.keys(FIELD_FLAGS) as Field[])
    .filter((f) => given(f) && !known.includes(f))
    .map((f) => `a pool of type ${s.type} has no ${FIELD_FLAGS[f]}`);
  return [...missing, ...extra];
}

/** Of one field: what it must be where it is said, and in which words not. */
interface ValueRule {
  readonly values: (s: PoolSource) => readonly string[];
  readonly fits: (value: string, s: PoolSource) => boolean;
  readonly why: string;
}

const isIscsi = (s: PoolSource): boolean => s.type.startsWith('iscsi');

const VALUES: readonly ValueRule[] = [
  {
    values: (s) => s.hosts,
    fits: (v) => HOST.test(v),
    why: 'is no name or address of a server (NAME or NAME:PORT)',
  },
  { values: (s) => [s.name], fits: (v) => SOURCE_NAME.test(v), why: 'is no name of a volume group, pool or volume' },
  {
    values: (s) => s.devices,
    fits: (v) => v.startsWith('/dev/') && pathFaults(v, true).length === 0,
    why: 'is no device (/dev/…)',
  },
  { values: (s) => (isIscsi(s) ? [s.path] : []), fits: (v) => IQN.test(v), why: 'is no name of a target (iqn.…)' },
  { values: (s) => (isIscsi(s) ? [] : [s.path]), fits: (v) => !unclean(v), why: 'is no folder of a server (/export)' },
  { values: (s) => [s.initiator], fits: (v) => IQN.test(v), why: 'is no name of an initiator (iqn.…)' },
  {
    values: (s) => [s.adapter],
    fits: (v) => ADAPTER.test(v),
    why: 'is no adapter (scsi_host3, or WWNN:WWPN with 16 digits each)',
  },
  { values: (s) => [s.authUser], fits: (v) => USER.test(v), why: 'cannot be the name of a user of storage' },
];

function valueFaults(s: PoolSource, { formats = [] }: TypeRules): string[] {
  const bad = VALUES.flatMap(({ values, fits, why }) =>
    values(s)
      .filter((v) => v !== '' && !fits(v, s))
      .map((v) => `${shown(v)} ${why}`),
  );
  const format = s.format === '' || formats.includes(s.format);
  return [
    ...(s.targetPath === '' ? [] : pathFaults(s.targetPath)),
    ...bad,
    ...(format ? [] : [`${shown(s.format)} is no format here: ${formats.join(', ')}`]),
    ...(s.hosts.length > MOST || s.devices.length > MOST ? [`more than ${MOST} servers or devices`] : []),
  ];
}

const shown = (s: string): string => JSON.stringify(s.slice(0, 100));

/** Control characters, `..`, `//`: never part of a path that anybody means. */
const unclean = (p: string): boolean =>
  !p.startsWith('/') || p.length > 1_024 || /[\u0000-\u001f\u007f]/.test(p) || /(^|\/)\.{1,2}(\/|$)|\/\//.test(p);

/** What belongs to the system: a pool there would hide it, or fill it. */
const SYSTEM = ['/bin', '/boot', '/dev', '/etc', '/lib', '/lib32', '/lib64', '/proc', '/root', '/run', '/sbin', '/sys'];
const MORE_SYSTEM = ['/tmp', '/usr', '/var/cache', '/var/lib/dpkg', '/var/log', '/var/run', '/var/spool', '/var/tmp'];
/** Folders that hold others: a pool may be below them, and not be one. */
const TOP = ['/', '/home', '/mnt', '/media', '/opt', '/srv', '/var', '/var/lib', '/var/lib/libvirt'];

/** What speaks against a path, in words. @param device it is one, or the place of some. */
export function pathFaults(path: string, device = path.startsWith('/dev/')): string[] {
  if (unclean(path)) return [`${shown(path)} is no path to use: it must begin with / and have no . or .. in it`];
  if (path !== '/' && path.endsWith('/')) return [`${shown(path)} ends in /: leave that out`];
  if (device) return [];
  const within = [...SYSTEM, ...MORE_SYSTEM].find((p) => path === p || path.startsWith(`${p}/`));
  if (within !== undefined) return [`${path} is not allowed: ${within} belongs to the system`];
  if (TOP.includes(path)) return [`${path} is not allowed: choose a folder of its own below it, like ${below(path)}`];
  return [];
}

const below = (path: string): string => `${path === '/' ? '' : path}/vdisks`;
