/**
 * References between tables, checked at the end of each update so that the durable engine's foreign keys never fail.
 * What merely describes an object goes with it (copies, claims, tokens, debts); what people made stands in its way.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import type { MemTables } from './tables.ts';
import type { TableName } from './state.ts';

const HOSTED = ['claims', 'imageCopies', 'joinTokens', 'debts', 'reviews'] as const;
type Touched = ReadonlyMap<TableName, ReadonlySet<string>>;

/** Deletes what belongs to deleted objects, and throws for what still needs them. */
export function keepIntegrity(t: MemTables, touched: Touched): void {
  for (const id of touched.get('hosts') ?? []) if (!t.hosts.get(id)) hostGone(t, id as HostId);
  for (const id of touched.get('images') ?? []) if (!t.images.get(id)) imageGone(t, id as ImageId);
  for (const id of touched.get('vms') ?? []) checkVm(t, id);
  checkTokens(t, touched);
  for (const id of touched.get('volumes') ?? []) checkVolume(t, id);
  for (const table of HOSTED) {
    for (const key of touched.get(table) ?? []) checkHosted(t, table, key);
  }
}

function hostGone(t: MemTables, id: HostId): void {
  const vm = t.vms.byHost(id)[0];
  if (vm) throw new ClusterError('IN_USE', `vm ${vm.name} still belongs to the host that would be removed`);
  const volume = t.volumes.byHost(id)[0];
  if (volume) throw new ClusterError('IN_USE', `volume ${volume.name} still lies on the host that would be removed`);
  for (const table of [t.claims, t.imageCopies, t.joinTokens, t.debts, t.reviews]) {
    for (const v of table.byHost(id)) table.delete((table as { keyOf(v: unknown): string }).keyOf(v));
  }
}

function imageGone(t: MemTables, id: ImageId): void {
  const vm = t.vms.byImage(id)[0];
  if (vm) throw new ClusterError('IN_USE', `vm ${vm.name} still needs the image that would be removed`);
  const volume = t.volumes.byImage(id)[0];
  if (volume) throw new ClusterError('IN_USE', `volume ${volume.name} is based on the image that would be removed`);
  for (const c of t.imageCopies.byImage(id)) t.imageCopies.delete(t.imageCopies.keyOf(c));
}

/** Tokens go with their user; none is made without one. */
function checkTokens(t: MemTables, touched: Touched): void {
  if (touched.has('users'))
    for (const token of t.tokens.values()) if (!t.users.byName(token.user)) t.tokens.delete(token.id);
  for (const id of touched.get('tokens') ?? []) {
    const token = t.tokens.get(id);
    if (token && !t.users.byName(token.user)) missing(`token ${id}`, `user ${token.user}`);
  }
}

function checkVm(t: MemTables, id: string): void {
  const vm = t.vms.get(id);
  if (!vm) return t.claims.delete(id);
  if (vm.hostId && !t.hosts.get(vm.hostId)) missing(`vm ${vm.name}`, `host ${vm.hostId}`);
  for (const d of vm.spec.disks)
    if (d.imageId && !t.images.get(d.imageId)) missing(`vm ${vm.name}`, `image ${d.imageId}`);
}

function checkVolume(t: MemTables, id: string): void {
  const volume = t.volumes.get(id);
  if (volume?.hostId && !t.hosts.get(volume.hostId)) missing(`volume ${volume.name}`, `host ${volume.hostId}`);
  if (volume?.imageId && !t.images.get(volume.imageId)) missing(`volume ${volume.name}`, `image ${volume.imageId}`);
}

function checkHosted(t: MemTables, table: (typeof HOSTED)[number], key: string): void {
  const row = t[table].get(key);
  if (!row) return;
  if (!t.hosts.get(row.hostId)) missing(`${table} ${key}`, `host ${row.hostId}`);
  if (table === 'claims' && !t.vms.get(key)) missing(`claim ${key}`, 'its vm');
  if ('imageId' in row && !t.images.get(row.imageId)) missing(`image copy ${key}`, `image ${row.imageId}`);
}

function missing(what: string, target: string): never {
  throw new ClusterError('NOT_FOUND', `${what} refers to ${target}, which does not exist`);
}
