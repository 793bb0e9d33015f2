/** A volume as people see it, whether it stands alone or is a VM's: what it is meant to be, and what its host says. Pure reads. */
import type { HostId, ImageId, JobId, PoolId, VolumeId } from '@berth/shared/model/ids.ts';
import type { Labels } from '@berth/shared/labels/selector.ts';
import { LOCAL_POOL } from '@berth/shared/model/pool.ts';
import { diskName, type KeptFormat } from '@berth/shared/model/volume.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Tables } from '../state/state.ts';
import { labelsOfVolume, type FoundVolume } from './volume-names.ts';
import { poolName } from './vm-pools.ts';
import { jobOfVm } from './vm-view.ts';

export type VolumeState = 'creating' | 'ready' | 'deleting' | 'missing' | 'unknown';

export interface VolumeView {
  /** Undefined: `local`. */
  readonly poolId: PoolId | undefined;
  readonly id: VolumeId;
  readonly name: string;
  readonly state: VolumeState;
  readonly hostId: HostId | undefined;
  readonly hostName: string;
  readonly pool: string;
  readonly sizeBytes: number;
  /** 0: not known. */
  readonly allocatedBytes: number;
  readonly format: KeptFormat;
  /** Names of images, the nearest first. */
  readonly backing: readonly string[];
  /** Empty: it stands alone. */
  readonly vm: string;
  readonly target: string;
  readonly labels: Labels;
  readonly jobId: JobId | undefined;
  readonly createdAtMs: number;
}

interface Seen {
  readonly tables: Tables;
  readonly hosts: Hosts;
}

export function viewVolume(f: FoundVolume, { tables, hosts }: Seen): VolumeView {
  const about = f.vm ? ofVm(f) : ofNobody(f);
  const { hostId, id } = about;
  const seen = hostId && hosts.has(hostId);
  const record = seen?.volumes.get(id);
  const job = tables.jobs.holders(`volume/${id}`)[0] ?? (f.vm && jobOfVm(tables, f.vm.id));
  return {
    ...about,
    state: stateOf(about.state, { hosts, hostId, there: seen ? record !== undefined : undefined }),
    hostName: (hostId && tables.hosts.get(hostId)?.name) ?? '',
    pool: poolName(tables, about.poolId) || LOCAL_POOL,
    allocatedBytes: record?.allocatedBytes ?? 0,
    backing: backingOf(tables, about.imageId),
    labels: labelsOfVolume(f),
    jobId: job?.id,
  };
}

const backingOf = (tables: Tables, id: ImageId | undefined): readonly string[] =>
  id === undefined ? [] : [tables.images.get(id)?.name ?? id];

type About = Pick<VolumeView, 'id' | 'name' | 'hostId' | 'sizeBytes' | 'format' | 'vm' | 'target' | 'createdAtMs'> & {
  readonly state: 'creating' | 'ready' | 'deleting';
  readonly imageId: ImageId | undefined;
  readonly poolId: PoolId | undefined;
};

function ofVm({ vm, disk }: FoundVolume & { readonly vm: object }): About {
  return {
    ...{ id: disk.volumeId, name: diskName(vm.name, disk.target), hostId: vm.hostId, state: vm.phase },
    ...{
      sizeBytes: disk.sizeBytes,
      format: disk.options?.format ?? 'qcow2',
      imageId: disk.imageId,
      poolId: disk.poolId,
    },
    ...{ vm: vm.name, target: disk.target, createdAtMs: vm.createdAtMs },
  };
}

function ofNobody({ volume: v }: FoundVolume & { readonly volume: object }): About {
  const { id, name, hostId, poolId, state, sizeBytes, format, imageId, createdAtMs } = v;
  return { id, name, hostId, poolId, state, sizeBytes, format, imageId, createdAtMs, vm: '', target: '' };
}

/** @param s.there undefined: its host has not reported yet. */
function stateOf(
  state: About['state'],
  s: { readonly hosts: Hosts; readonly hostId: HostId | undefined; readonly there: boolean | undefined },
): VolumeState {
  if (state !== 'ready' || s.hostId === undefined) return state;
  if (!s.hosts.view(s.hostId).reachable) return 'unknown';
  return s.there === false && s.hosts.status(s.hostId).complete.has('volumes') ? 'missing' : 'ready';
}
