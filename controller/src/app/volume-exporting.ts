/** Which volumes may be taken out as files, and how. Talks to no host. */
import { badState, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { ExportVolumeParams } from '../jobs/volume-export.ts';
import { readsPool } from '../jobs/world-pools.ts';
import type { Tables } from '../state/state.ts';
import type { FoundVolume } from './volume-names.ts';
import { viewVolume } from './volume-view.ts';
import { viewVm } from './vm-view.ts';

const FORMATS: readonly string[] = ['raw', 'qcow2', 'vmdk', 'vdi', 'vhdx'];

interface Seen {
  readonly tables: Tables;
  readonly hosts: Hosts;
  readonly nowMs: number;
}

/** @throws BAD_STATE, INVALID_ARGUMENT, UNSUPPORTED */
export function exportWanted(
  found: FoundVolume,
  format: string,
  seen: Seen,
): { readonly params: Omit<ExportVolumeParams, 'ticketHash'>; readonly subject: string } {
  if (!FORMATS.includes(format))
    throw invalidArgument(
      `no file of a volume is made as ${JSON.stringify(format.slice(0, 40))}: ${FORMATS.join(', ')}`,
    );
  const { id: volumeId, name, hostId, hostName, poolId, state } = viewVolume(found, seen);
  if (hostId === undefined || state === 'creating' || state === 'deleting')
    throw badState(`volume ${name} is ${state === 'deleting' ? 'being deleted' : 'not made yet'}`);
  const { facts } = seen.hosts.status(hostId);
  needCapability({ name: hostName }, facts, 'volume.export');
  const inPool = readsPool(seen.tables, poolId);
  if (inPool) needCapability({ name: hostName }, facts, inPool);
  if (found.vm) insistAtRest(found.vm.name, found.disk.target, viewVm(found.vm, seen).state);
  return { params: { volumeId, ...(found.vm && { vmId: found.vm.id }), format }, subject: name };
}

/** What a guest writes meanwhile would make a disk of two moments. */
function insistAtRest(vm: string, target: string, state: string): void {
  if (state === 'stopped' || state === 'crashed') return;
  throw badState(
    `disk ${target} is one of vm ${vm}, which is ${state}. Stop it first (berth vm stop ${vm}), or take a copy of one moment while ` +
      `it runs: berth image capture ${vm} --name NAME, then berth image export NAME FILE`,
  );
}
