/** What a pool of this host shall be, as it comes over the wire, and its XML for libvirt. Pure; golden files keep the XML. */
import { createHash } from 'node:crypto';
import type { PoolSource } from '@berth/shared/model/pool.ts';
import { checkPoolSource } from '@berth/shared/pool/check.ts';
import { el, textEl, type Node } from '../domain/xml/text.ts';
import { checkId, checkName } from '../ids.ts';

export interface PoolSpec {
  readonly poolId: string;
  readonly name: string;
  readonly source: PoolSource;
  readonly shared: boolean;
  readonly autostart: boolean;
  readonly generation: number;
}

/** @throws INVALID_ARGUMENT, one line per fault */
export function checkPoolSpec(s: PoolSpec): PoolSpec {
  checkId('pool', s.poolId);
  checkName('pool', s.name);
  return { ...s, source: checkPoolSource(`pool ${s.name}`, s.source) };
}

/** The same for the same pool on every host, so that no list of them is needed. */
export const poolUuid = (poolId: string): string => uuidOf(`pool ${poolId}`);
export const secretUuid = (poolId: string): string => uuidOf(`secret of pool ${poolId}`);

/** As version 5 has it, over SHA-256. */
function uuidOf(text: string): string {
  const hash = createHash('sha256').update(`berth ${text}`).digest();
  const b = Buffer.from(hash.subarray(0, 16));
  b.writeUInt8((b.readUInt8(6) & 0x0f) | 0x50, 6);
  b.writeUInt8((b.readUInt8(8) & 0x3f) | 0x80, 8);
  return b.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

export function poolXml({ poolId, name, source }: PoolSpec): string {
  const { type, targetPath } = source;
  return el(
    'pool',
    { type },
    textEl('name', {}, name),
    textEl('uuid', {}, poolUuid(poolId)),
    el('source', {}, ...sourceXml(poolId, source)),
    targetPath === '' ? undefined : el('target', {}, textEl('path', {}, targetPath)),
  );
}

function sourceXml(poolId: string, s: PoolSource): readonly Node[] {
  return [
    ...s.hosts.map(hostXml),
    ...s.devices.map((path) => el('device', { path })),
    ...placeXml(s),
    ...(s.type === 'scsi' ? [adapterXml(s.adapter)] : []),
    ...(s.name === '' ? [] : [textEl('name', {}, s.name)]),
    ...(s.initiator === '' ? [] : [el('initiator', {}, el('iqn', { name: s.initiator }))]),
    ...authXml(poolId, s),
    ...formatXml(s),
  ];
}

function hostXml(host: string): string {
  const [, name = host, port] = /^(.*?)(?::(\d+))?$/.exec(host.replace(/^\[(.*)\]/, '$1')) ?? [];
  const v6 = /^\[(.*)\](?::(\d+))?$/.exec(host);
  return v6 ? el('host', { name: v6[1], port: v6[2] }) : el('host', { name, port });
}

/** A target of iSCSI is a device for libvirt; everything else is a folder. */
function placeXml({ type, path }: PoolSource): readonly Node[] {
  if (path === '') return [];
  return [type.startsWith('iscsi') ? el('device', { path }) : el('dir', { path })];
}

const adapterXml = (adapter: string): string =>
  adapter.startsWith('scsi_host')
    ? el('adapter', { type: 'scsi_host', name: adapter })
    : el('adapter', { type: 'fc_host', wwnn: adapter.split(':')[0], wwpn: adapter.split(':')[1] });

function authXml(poolId: string, { type, authUser }: PoolSource): readonly Node[] {
  if (authUser === '') return [];
  const kind = type === 'rbd' ? 'ceph' : 'chap';
  return [el('auth', { type: kind, username: authUser }, el('secret', { uuid: secretUuid(poolId) }))];
}

function formatXml({ type, format }: PoolSource): readonly Node[] {
  if (type === 'logical') return [el('format', { type: 'lvm2' })];
  return format === '' ? [] : [el('format', { type: format })];
}
