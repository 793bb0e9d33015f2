/** The parts of an agent that have to do with volumes, put together. What each does is in the files beside this one. */
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { Devices } from '../domain/devices.ts';
import type { Domains } from '../domain/domains.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import type { AllDisks, VolumePlaces } from '../drivers/volume-work.ts';
import type { PeerIdentity } from '../peer/identity.ts';
import type { Operations } from '../operations/operations.ts';
import type { BlockDisks } from '../pool/pool-volumes.ts';
import { refuseMoving, VolumeMoves, type MovingVm } from './moves.ts';
import { Receives } from './receives.ts';
import type { Uploads } from './uploads.ts';
import { VolumeExports } from './volume-exports.ts';
import { VolumeUploads } from './volume-uploads.ts';
import { VolumeData } from './volume-data.ts';
import { Volumes } from './volumes.ts';

export interface VolumePartsFrom {
  readonly hypervisor: Hypervisor;
  readonly disks: AllDisks & BlockDisks & { readonly places: VolumePlaces };
  readonly domains: Domains;
  readonly operations: Operations;
  readonly uploads: Uploads;
  readonly identity: PeerIdentity;
  /** Of the host's own folder. */
  readonly directIo: () => Promise<boolean>;
  readonly clock: Clock;
  readonly log: Log;
}

export type VolumeParts = ReturnType<typeof createVolumeParts>;

export function createVolumeParts(from: VolumePartsFrom) {
  const { disks } = from;
  return {
    volumes: new Volumes(from),
    data: new VolumeData(from),
    devices: new Devices(from),
    exports: new VolumeExports(from),
    receives: new Receives(from),
    uploaded: new VolumeUploads(from),
    moves: new VolumeMoves({ ...from, places: disks.places }),
  };
}

/** For those who start domains. @throws RESOURCE_BUSY, BAD_STATE: a disk must not be written to now, or is another by now */
export async function refuseStart(disks: VolumePartsFrom['disks'], vm: MovingVm): Promise<void> {
  await refuseMoving({ disks, places: disks.places }, vm);
  await disks.insistUnits(vm.vmId);
}
