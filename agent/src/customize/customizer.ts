/** The operation behind CustomizeService: the volume of a guest that is off, looked at, planned for, and changed. */
import { ClusterError, notFound, unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { Disks } from '../drivers/disks.ts';
import type { GuestDisk, GuestDisks } from '../drivers/guest-disks.ts';
import { runnable } from '../drivers/volume-work.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import { readMark } from '../domain/metadata.ts';
import { checkId, checkUuid } from '../ids.ts';
import type { OperationKind, Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { insistWhole } from '../volume/whole.ts';
import { checkActions, type Actions } from './actions.ts';
import { LOOKS, planFor } from './plan.ts';

export interface CustomizeWanted {
  readonly volumeId: string;
  /** Empty: no domain will ever have it. */
  readonly domainUuid: string;
  readonly actions: Actions;
}

export interface GeneralizeWanted {
  readonly uploadId: string;
}

/** And nothing else. */
const GENERALIZE: Actions = {
  ...{ hostname: '', nics: [], sshKeys: [], sshUser: '', firstBoot: '' },
  ...{ serialLogin: false, newMachineId: false, newHostKeys: false, generalize: true },
};

export interface CustomizerDeps {
  readonly hypervisor: Pick<Hypervisor, 'list'>;
  readonly disks: Pick<Disks, 'findVolume' | 'volumePath' | 'imagePath' | 'capturedDisk' | 'hasTwoFiles'>;
  readonly guestDisks: GuestDisks;
  readonly operations: Operations;
  readonly abilities: () => Promise<{ readonly domainType: 'kvm' | 'qemu' }>;
}

/** Each is a small virtual machine. */
const AT_ONCE = 2;
const OFF: ReadonlySet<string> = new Set(['stopped', 'crashed']);

/** @throws INVALID_ARGUMENT */
export function checkCustomize(w: CustomizeWanted): CustomizeWanted {
  checkId('volume', w.volumeId);
  if (w.domainUuid !== '') checkUuid(w.domainUuid);
  checkActions(w.actions);
  return w;
}

interface FoundDisk extends GuestDisk {
  readonly vmId: string;
  readonly isBlock: boolean;
  readonly filling: boolean;
}

export class Customizer {
  readonly customize: OperationKind<CustomizeWanted>;

  readonly generalize: OperationKind<GeneralizeWanted>;

  constructor(private readonly deps: CustomizerDeps) {
    this.generalize = deps.operations.define<GeneralizeWanted>({
      name: 'upload.generalize',
      long: { atOnce: AT_ONCE },
      lockKey: (w) => `upload/${w.uploadId}`,
      run: (w, work) => this.generalizeUpload(w.uploadId, work),
      abandon: async ({ uploadId }) => {
        const disk = await this.captured(uploadId);
        if (disk) await deps.guestDisks.drop(disk);
      },
    });
    this.customize = deps.operations.define<CustomizeWanted>({
      name: 'volume.customize',
      long: { atOnce: AT_ONCE },
      // what starts, defines or removes the domain takes turns with it
      lockKey: (w) => (w.domainUuid === '' ? `volume/${w.volumeId}` : `domain/${w.domainUuid}`),
      run: (w, work) => this.run(w, work),
      abandon: async (w) => {
        const disk = await this.find(w.volumeId);
        if (disk?.isBlock === false) await deps.guestDisks.drop(disk);
      },
    });
  }

  private async run(w: CustomizeWanted, work: Work): Promise<void> {
    const disk = await this.find(w.volumeId);
    if (disk === undefined) throw notFound(`volume ${w.volumeId} is not on this host`);
    if (disk.isBlock)
      throw unsupported(`volume ${w.volumeId} is no file on this host; its guest can't be changed from outside`);
    await insistWhole(this.deps.disks, disk);
    const allowed = (): Promise<void> => this.refuseWhileOn(w, disk);
    await allowed();
    await this.edit(disk, w.actions, allowed, work);
  }

  private async generalizeUpload(uploadId: string, work: Work): Promise<void> {
    const disk = await this.captured(uploadId);
    if (disk === undefined) throw notFound(`the copy ${uploadId} of a disk is not on this host (any more)`);
    await this.edit(disk, GENERALIZE, async () => undefined, work);
  }

  private async edit(disk: GuestDisk, actions: Actions, allowed: () => Promise<void>, work: Work): Promise<void> {
    const { guestDisks, abilities } = this.deps;
    const why = await guestDisks.whyNot();
    if (why !== undefined) throw unsupported(`guests can't be changed from outside here: ${why}`);
    const { domainType } = await abilities();
    await guestDisks.edit(
      disk,
      {
        looks: LOOKS,
        plan: (found) => {
          const { changes, words } = planFor(actions, found);
          work.tell(words.join(', '));
          return changes;
        },
        allowed,
        accelerated: domainType === 'kvm',
      },
      work,
    );
  }

  /** By the id of the upload: nothing else has a name like that. */
  private async captured(uploadId: string): Promise<GuestDisk | undefined> {
    const disk = await this.deps.disks.capturedDisk(uploadId);
    return disk && { volumeId: uploadId, ...disk };
  }

  private async find(volumeId: string): Promise<FoundDisk | undefined> {
    const { disks } = this.deps;
    const v = await disks.findVolume(volumeId);
    if (v === undefined || v.seed) return undefined;
    const { vmId, sizeBytes } = v;
    const path = disks.volumePath(volumeId, false, v.format);
    const backing = v.backingPath ?? (v.imageDigest === undefined ? undefined : disks.imagePath(v.imageDigest));
    return {
      ...(v.poolId !== undefined && { inPool: { backing } }),
      volumeId,
      vmId,
      sizeBytes,
      format: runnable(v),
      path,
      isBlock: v.source !== undefined,
      filling: v.filling === true,
    };
  }

  /** Also what is saved: what is in its memory knows the disk as it is. */
  private async refuseWhileOn(
    w: CustomizeWanted,
    { volumeId, vmId }: { volumeId: string; vmId: string },
  ): Promise<void> {
    const domains = await this.deps.hypervisor.list();
    const user = domains.find(
      (d) =>
        (d.uuid === w.domainUuid || readMark(d.metadataXml)?.vmId === vmId) &&
        (!OFF.has(d.power) || d.reason === 'saved'),
    );
    if (user === undefined) return;
    const state = user.reason === 'saved' ? 'saved' : user.power;
    throw new ClusterError(
      'IN_USE',
      `volume ${volumeId} is in use: vm ${user.name} is ${state} on this host. Its guest can be changed when it is stopped`,
    );
  }
}
