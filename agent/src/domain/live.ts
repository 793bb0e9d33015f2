/**
 * What is changed of a guest's hardware while it runs: the operations behind HardwareService. They take turns with what power.ts
 * does. What is stored, and what the next start makes of it, is domains.ts's.
 */
import { badState, invalidArgument, isClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import { TARGET } from '@berth/shared/hardware/targets.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { Disks } from '../drivers/disks.ts';
import type { DomainPower, Hypervisor } from '../drivers/hypervisor.ts';
import { checkBytes, checkDigest, checkMac } from '../ids.ts';
import type { OperationKind } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import type { DomainRef, Domains } from './domains.ts';
import { cardWithLink, driveWith, readRunning, type RunningGuest } from './xml/live.ts';

export interface LiveDeps {
  readonly domains: Pick<Domains, 'need'>;
  readonly hypervisor: Pick<Hypervisor, 'getRunningXml' | 'setVcpus' | 'setMemory' | 'updateDevice'>;
  readonly disks: Pick<Disks, 'listImages' | 'imagePath'>;
  readonly operations: Operations;
  /** As people call it. */
  readonly hostName: string;
}

export interface VcpusRequest extends DomainRef {
  readonly vcpus: number;
}
export interface MemoryRequest extends DomainRef {
  readonly memoryBytes: number;
}
export interface MediumRequest extends DomainRef {
  readonly target: string;
  /** Undefined: takes the medium out. */
  readonly imageDigest: string | undefined;
  readonly force: boolean;
}
export interface LinkRequest extends DomainRef {
  readonly mac: string;
  readonly down: boolean;
}

const MIB = 2 ** 20;
const ON: readonly DomainPower[] = ['running', 'paused', 'stopping', 'suspended'];

export function checkVcpus(q: VcpusRequest): VcpusRequest {
  if (!Number.isInteger(q.vcpus) || q.vcpus < 1 || q.vcpus > 1024)
    throw invalidArgument(`${q.vcpus} vCPUs is out of range (1 to 1024)`);
  return q;
}

export function checkMemory(q: MemoryRequest): MemoryRequest {
  checkBytes('memory', q.memoryBytes, 16 * MIB, 64 * 2 ** 40);
  if (q.memoryBytes % MIB !== 0) throw invalidArgument('memory must be whole MiB');
  return q;
}

export function checkMedium(q: MediumRequest): MediumRequest {
  if (!TARGET.test(q.target)) throw invalidArgument(`${JSON.stringify(q.target.slice(0, 20))} is no CD-ROM drive`);
  if (q.imageDigest !== undefined) checkDigest(q.imageDigest);
  return q;
}

export const checkLink = (q: LinkRequest): LinkRequest => ({ ...q, mac: checkMac(q.mac) });

/** What is changed, and of what. */
interface Guest {
  readonly name: string;
  readonly uuid: string;
  readonly xml: string;
  readonly running: RunningGuest;
}

export class Live {
  readonly setVcpus: OperationKind<VcpusRequest>;
  readonly setMemory: OperationKind<MemoryRequest>;
  readonly changeMedium: OperationKind<MediumRequest>;
  readonly setLink: OperationKind<LinkRequest>;

  constructor(private readonly deps: LiveDeps) {
    const verb = <Q extends DomainRef>(name: string, run: (guest: Guest, q: Q) => Promise<void>): OperationKind<Q> =>
      deps.operations.define<Q>({
        name: `domain.${name}`,
        lockKey: ({ uuid }) => `guest/${uuid}`,
        run: async (q) => run(await this.guest(q), q),
      });
    this.setVcpus = verb('setVcpus', (guest, { vcpus }) => this.doSetVcpus(guest, vcpus));
    this.setMemory = verb('setMemory', (guest, { memoryBytes }) => this.doSetMemory(guest, memoryBytes));
    this.changeMedium = verb('changeMedium', (guest, q) => this.doChangeMedium(guest, q));
    this.setLink = verb('setLink', (guest, q) => this.doSetLink(guest, q));
  }

  private async guest(ref: DomainRef): Promise<Guest> {
    const { name, uuid, power } = await this.deps.domains.need(ref);
    if (!ON.includes(power))
      throw badState(`vm ${name} is ${power} on ${this.deps.hostName}; only what runs can be changed like this`);
    const xml = await this.deps.hypervisor.getRunningXml(uuid);
    return { name, uuid, xml, running: readRunning(xml) };
  }

  private async doSetVcpus({ name, uuid, running }: Guest, vcpus: number): Promise<void> {
    if (vcpus === running.vcpus) return;
    if (vcpus > running.mostVcpus)
      throw badState(
        `vm ${name} was started for at most ${running.mostVcpus} vCPUs, so it cannot get ${vcpus} while it runs. ` +
          `Raise its maximum, then stop and start it`,
      );
    if (vcpus < running.vcpus)
      throw badState(
        `vm ${name} runs with ${running.vcpus} vCPUs, and none can be taken from a guest that runs. It has ${vcpus} at its next start`,
      );
    await this.deps.hypervisor.setVcpus(uuid, vcpus);
  }

  private async doSetMemory({ name, uuid, running }: Guest, memoryBytes: number): Promise<void> {
    if (!running.hasBalloon)
      throw badState(`vm ${name} has no memory balloon, so its memory changes with its next start only`);
    if (memoryBytes > running.mostMemoryBytes)
      throw badState(
        `vm ${name} was started for at most ${formatBytes(running.mostMemoryBytes)}, so it cannot get ` +
          `${formatBytes(memoryBytes)} while it runs. Raise its maximum, then stop and start it`,
      );
    await this.deps.hypervisor.setMemory(uuid, memoryBytes);
  }

  private async doChangeMedium(guest: Guest, { target, imageDigest, force }: MediumRequest): Promise<void> {
    const { name, uuid, xml, running } = guest;
    const device = driveWith(xml, target, await this.mediumPath(name, imageDigest));
    if (device === undefined)
      throw notFound(`vm ${name} runs without a CD-ROM drive ${target}${others(running.drives)}`);
    try {
      await this.deps.hypervisor.updateDevice(uuid, device, force);
    } catch (e) {
      if (force || !isClusterError(e, 'BAD_STATE', 'INTERNAL', 'DEADLINE_EXCEEDED')) throw e;
      if (!/tray|locked/i.test(e.message)) throw e;
      const words = `the guest of vm ${name} keeps its drive ${target} locked: unmount the medium in the guest, or use force`;
      throw badState(words, {}, e);
    }
  }

  private async mediumPath(name: string, digest: string | undefined): Promise<string | undefined> {
    const { disks, hostName } = this.deps;
    if (digest === undefined) return undefined;
    if ((await disks.listImages()).some((i) => i.digest === digest)) return disks.imagePath(digest);
    throw notFound(`the medium for vm ${name} (image ${digest}) is not on ${hostName}`);
  }

  private async doSetLink({ name, uuid, xml, running }: Guest, { mac, down }: LinkRequest): Promise<void> {
    const device = cardWithLink(xml, mac, down);
    if (device === undefined) throw notFound(`vm ${name} runs without a network card ${mac}${others(running.macs)}`);
    await this.deps.hypervisor.updateDevice(uuid, device, false);
  }
}

const others = (names: readonly string[]): string =>
  names.length === 0 ? '; it has none' : `: it has ${names.join(', ')}`;
