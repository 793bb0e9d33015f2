/**
 * Disks and network cards that come and go under a guest that runs. What is stored of a domain is domains.ts's; here is what its
 * guest has, which is looked at anew each time. They take turns with the other changes of a guest.
 */
import { ClusterError, badState, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { TARGET } from '@berth/shared/hardware/targets.ts';
import type { Disks } from '../drivers/disks.ts';
import type { DomainPower, Hypervisor } from '../drivers/hypervisor.ts';
import { checkMac } from '../ids.ts';
import type { OperationKind } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import type { BlockDisks } from '../pool/pool-volumes.ts';
import { filesOf, userOf } from '../volume/using.ts';
import { moving } from '../volume/whole.ts';
import type { DomainRef, Domains } from './domains.ts';
import type { DomainSpec } from './spec.ts';
import { deviceIn, disksIn, missingScsi } from './xml/live.ts';

export interface DeviceDeps {
  readonly domains: Pick<Domains, 'need' | 'deviceXml'>;
  readonly hypervisor: Pick<Hypervisor, 'list' | 'getRunningXml' | 'devices'>;
  readonly disks: Pick<Disks, 'findVolume' | 'listVolumes' | 'isMoving' | 'volumePath' | 'movedPath'> &
    Pick<BlockDisks, 'insistUnits'>;
  readonly operations: Operations;
}

export interface AttachWanted {
  readonly spec: DomainSpec;
  /** Target of a disk, or MAC address of a card. */
  readonly device: string;
}

export interface DetachWanted extends DomainRef {
  readonly device: string;
}

const ON: readonly DomainPower[] = ['running', 'paused', 'stopping', 'suspended'];

/** In its normal form. @throws INVALID_ARGUMENT */
export const checkDevice = (device: string): string => (TARGET.test(device) ? device : checkMac(device));

export class Devices {
  readonly attach: OperationKind<AttachWanted>;
  readonly detach: OperationKind<DetachWanted>;

  constructor(private readonly deps: DeviceDeps) {
    const { operations } = deps;
    this.attach = operations.define<AttachWanted>({
      name: 'domain.attachDevice',
      lockKey: ({ spec }) => `guest/${spec.uuid}`,
      run: (w) => this.doAttach(w),
    });
    this.detach = operations.define<DetachWanted>({
      name: 'domain.detachDevice',
      lockKey: ({ uuid }) => `guest/${uuid}`,
      run: (w) => this.doDetach(w),
    });
  }

  private async running(ref: DomainRef): Promise<{ readonly name: string; readonly xml: string }> {
    const { name, uuid, power } = await this.deps.domains.need(ref);
    if (!ON.includes(power))
      throw badState(`vm ${name} is ${power}; only to what runs can something be attached like this`);
    return { name, xml: await this.deps.hypervisor.getRunningXml(uuid) };
  }

  private async doAttach({ spec, device }: AttachWanted): Promise<void> {
    const { hypervisor, domains } = this.deps;
    const { name, xml } = await this.running(spec);
    const files = await this.filesOf(spec, device);
    if (deviceIn(xml, device)) {
      const had = disksIn(xml).find((d) => d.target === device)?.file;
      if (files === undefined || files.includes(had ?? '')) return;
      throw badState(`vm ${name} runs with another disk as ${device}`);
    }
    await this.refuseTaken(files);
    const wanted = await domains.deviceXml(spec, device);
    try {
      for (const controller of missingScsi(xml, wanted.controllers))
        await hypervisor.devices.attach(spec.uuid, controller);
      await hypervisor.devices.attach(spec.uuid, wanted.xml);
    } catch (e) {
      throw noPlace(e, name, device);
    }
  }

  /** Of a disk. */
  private async filesOf(spec: DomainSpec, device: string): Promise<readonly string[] | undefined> {
    const volumeId = spec.disks.find((d) => d.target === device)?.volumeId;
    const volume = volumeId === undefined ? undefined : await this.deps.disks.findVolume(volumeId);
    if (volume?.unitKey !== undefined) await this.deps.disks.insistUnits(spec.vmId);
    return volume && filesOf(this.deps.disks, volume);
  }

  private async refuseTaken(files: readonly string[] | undefined): Promise<void> {
    const user = files === undefined ? undefined : await userOf(this.deps.hypervisor, files);
    if (user)
      throw new ClusterError(
        'IN_USE',
        `the disk is in use: domain ${user.name} runs with it as ${user.target}. Two would spoil it`,
      );
  }

  /** Which of its two files is the disk is known from the domain that has it. */
  private async refuseMoving({ vmId }: DomainRef, file: string | undefined): Promise<void> {
    const { disks } = this.deps;
    const own = (await disks.listVolumes()).filter((v) => v.vmId === vmId);
    const volume = own.find((v) => file !== undefined && filesOf(disks, v).includes(file));
    if (volume && (await disks.isMoving(volume.volumeId))) throw moving(volume.volumeId);
  }

  private async doDetach({ device, ...ref }: DetachWanted): Promise<void> {
    const { hypervisor } = this.deps;
    const { name, xml } = await this.running(ref);
    const there = deviceIn(xml, device);
    if (there === undefined) return;
    await this.refuseMoving(ref, disksIn(xml).find((d) => d.target === device)?.file);
    await hypervisor.devices.detach(ref.uuid, there.xml, there.alias);
    const now = await hypervisor.getRunningXml(ref.uuid).catch((e: unknown) => {
      if (isClusterError(e, 'BAD_STATE', 'NOT_FOUND')) return ''; // it has stopped meanwhile, and so let go
      throw e;
    });
    if (deviceIn(now, device) === undefined) return;
    throw badState(
      `the guest of vm ${name} does not let go of ${device}: unmount or deconfigure it there, and see that the guest is up ` +
        `and takes part in hot-plug (ACPI). It may still let go of it later. Then try again, or stop the vm first`,
    );
  }
}

/** libvirt's own words for a machine that is full, or a bus that takes nothing while it runs, help nobody. */
function noPlace(e: unknown, name: string, device: string): unknown {
  if (!isClusterError(e, 'INTERNAL', 'UNSUPPORTED', 'BAD_STATE')) return e;
  if (/No more available PCI|slot|hotplug/i.test(e.message))
    return badState(
      `vm ${name} has no place for ${device} while it runs (${e.message}). Stop it first, or choose bus virtio or scsi`,
      {},
      e,
    );
  return e;
}
