/**
 * What to do with the domains of this host: the operations behind DomainService. Only domains that carry our mark for the
 * very VM are touched; every call looks at it anew.
 */
import { ClusterError, badState, chain, isClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Disks, VolumeSeen } from '../drivers/disks.ts';
import type { GuestDisks } from '../drivers/guest-disks.ts';
import type { Means } from '../drivers/means.ts';
import type { DomainSeen, Hypervisor } from '../drivers/hypervisor.ts';
import { runnable } from '../drivers/volume-work.ts';
import { checkId, checkUuid } from '../ids.ts';
import type { OperationKind } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { diskChains } from './xml/chains.ts';
import { describeDomain, type DescribeFrom, type DomainDescription } from './describe.ts';
import { MeansCheck } from './means/means-check.ts';
import { keptOf } from './kept.ts';
import { readMark } from './metadata.ts';
import { movedVolumes, settleMoves } from './moved-disks.ts';
import { needFiles } from './needed-files.ts';
import { checkDomainSpec, specHash, type DomainSpec } from './spec.ts';
import { definitionHash, deviceOf, domainXml, type Kept } from './xml/definition.ts';
import type { DomainHost } from './xml/host.ts';

export interface DomainRef {
  readonly uuid: string;
  readonly vmId: string;
}

export interface DomainDeps {
  readonly hypervisor: Hypervisor;
  readonly disks: Disks;
  readonly operations: Operations;
  /** As people call it. */
  readonly hostName: string;
  /** Where kernels for direct boot lie. */
  readonly bootDir: string;
  readonly log: Log;
  readonly means: Means;
  readonly guestDisks: Pick<GuestDisks, 'unfinished'>;
  /** Throws when its disks must not be written to now. */
  readonly mayStart?: (vm: { readonly name: string; readonly vmId: string }) => Promise<void>;
  /** What the host offers to every domain. */
  readonly abilities: () => Promise<Pick<DomainHost, 'domainType' | 'emulatorPath' | 'directIo'>>;
}

const notRestored = (name: string, cause: unknown): Error =>
  new ClusterError(
    'BAD_STATE',
    `vm ${name} could not go on from what was saved: ${chain(cause)}. ` +
      `To give that up and boot it afresh: berth vm start ${name} --discard-saved`,
  );

/** It changes hands once; what fails three times fails for another reason. */
const SOCKET_TRIES = 3;
const OFF: ReadonlySet<string> = new Set(['stopped', 'crashed']);

export function checkDomainRef(ref: DomainRef): DomainRef {
  checkUuid(ref.uuid);
  checkId('vm', ref.vmId);
  return ref;
}

const FORMATS = ['qcow2', 'raw'] as const;

export class Domains {
  readonly ensure: OperationKind<DomainSpec>;
  readonly start: OperationKind<DomainRef>;
  readonly shutdown: OperationKind<DomainRef>;
  readonly forceOff: OperationKind<DomainRef>;
  readonly remove: OperationKind<DomainRef>;

  private readonly check: MeansCheck;

  constructor(private readonly deps: DomainDeps) {
    this.check = new MeansCheck(deps);
    const verb = (name: string, run: (ref: DomainRef) => Promise<void>): OperationKind<DomainRef> =>
      deps.operations.define({ name, lockKey: (ref) => `domain/${ref.uuid}`, run });
    this.ensure = deps.operations.define<DomainSpec>({
      name: 'domain.ensure',
      lockKey: (s) => `domain/${s.uuid}`,
      run: (s) => this.doEnsure(s),
    });
    this.start = verb('domain.start', (ref) => this.doStart(ref));
    this.shutdown = verb('domain.shutdown', (ref) => this.doShutdown(ref));
    this.forceOff = verb('domain.forceOff', (ref) => this.doForceOff(ref));
    this.remove = verb('domain.remove', (ref) => this.doRemove(ref));
  }

  list(): Promise<readonly DomainSeen[]> {
    return this.deps.hypervisor.list();
  }

  /** The domain, if it is there. @throws BAD_STATE when it is not this VM's. */
  async find({ uuid, vmId }: DomainRef): Promise<DomainSeen | undefined> {
    const seen = (await this.list()).find((d) => d.uuid === uuid);
    if (seen === undefined) return undefined;
    const mark = readMark(seen.metadataXml);
    if (mark?.vmId === vmId) return seen;
    const whose = mark ? `belongs to ${mark.vmId}` : 'was not made by Berth';
    throw badState(`domain ${seen.name} (${uuid}) on this host ${whose}, not to ${vmId}; it is left alone`);
  }

  async need(ref: DomainRef): Promise<DomainSeen> {
    const seen = await this.find(ref);
    if (seen === undefined)
      throw notFound(
        `${ref.vmId} is not defined on ${this.deps.hostName}: somebody removed its domain there. A start defines it anew`,
      );
    return seen;
  }

  /** The spec that a domain of ours was made from, read back from what libvirt has stored. */
  async describe(ref: DomainRef): Promise<DomainDescription> {
    return describeDomain(await this.asItIs(ref));
  }

  /**
   * One device of a definition, as a guest that runs gets it: without a place in the boot order, which is taken. @param device
   * target of a disk, or MAC address of a card @throws INVALID_ARGUMENT: there is none such in the spec
   */
  async deviceXml(
    wanted: DomainSpec,
    device: string,
  ): Promise<{ readonly xml: string; readonly controllers: readonly string[] }> {
    const spec = checkDomainSpec(wanted);
    return deviceOf(spec, device, await this.hostFor(spec));
  }

  private async asItIs(ref: DomainRef): Promise<DescribeFrom> {
    const { disks, hypervisor } = this.deps;
    const mark = readMark((await this.need(ref)).metadataXml)!;
    const [list, images, xml] = [
      await disks.listVolumes(),
      await disks.listImages(),
      await hypervisor.getXml(ref.uuid),
    ];
    return {
      ...{ xml, mark },
      // a definition may still name the file that a volume had before it was converted
      volumes: new Map([
        ...list.flatMap((v) => FORMATS.map((f) => [disks.volumePath(v.volumeId, v.seed, f), v] as const)),
        ...list.filter((v) => v.imageDigest).map((v) => [disks.movedPath(v.volumeId), v] as const),
        ...list.flatMap((v) => {
          const other = disks.otherPath?.(v.volumeId);
          return other === undefined ? [] : [[other, v] as const];
        }),
      ]),
      images: new Map(images.map(({ digest }) => [disks.imagePath(digest), digest])),
      host: await this.hostOf(ref, new Map(list.map((v) => [v.volumeId, v]))),
    };
  }

  private async doEnsure(wanted: DomainSpec): Promise<void> {
    const spec = checkDomainSpec(wanted);
    const seen = await this.find(spec);
    if (seen && seen.name !== spec.name) throw this.renamed(seen, spec);
    const mark = seen?.persistent ? readMark(seen.metadataXml) : undefined;
    const asWanted = mark?.specHash === specHash(spec) && mark.generation === spec.generation;
    // While it runs, how a definition is made nowadays can wait for its next start.
    if (asWanted && seen && !OFF.has(seen.power)) return;
    await this.refuseTakenName(spec);
    const isMoved = await this.settle(seen, spec.vmId);
    const host = await this.hostFor(spec);
    if (!isMoved && asWanted && mark.definitionHash === definitionHash(spec, host)) return;
    await this.check.beforeDefine(spec);
    await this.deps.hypervisor.define(domainXml(spec, host, seen?.persistent ? await this.kept(spec) : undefined));
  }

  /**
   * A disk whose guest has moved to another file, which nobody could note yet: that file is the disk. Also one that is to be the VM's no
   * more: without its domain nobody could tell.
   */
  private async settle(seen: DomainSeen | undefined, vmId: string): Promise<boolean> {
    if (seen === undefined || !OFF.has(seen.power)) return false;
    const { disks, hypervisor } = this.deps;
    const ids = await this.onImages(vmId);
    if (ids.length === 0) return false;
    return settleMoves(await hypervisor.getXml(seen.uuid), ids, disks, seen.reason === 'saved');
  }

  private async onImages(vmId: string): Promise<readonly string[]> {
    const all = await this.deps.disks.listVolumes();
    return all.flatMap((v) => (v.vmId === vmId && v.imageDigest !== undefined ? v.volumeId : []));
  }

  /** Defines a domain anew as it is, because where its disks lie has changed. @throws BAD_STATE when it cannot be read */
  async restate(ref: DomainRef): Promise<void> {
    await this.deps.operations.inTurn(`domain/${ref.uuid}`, () => this.restateNow(ref));
  }

  /** The caller has the domain's turn. */
  private async restateNow(ref: DomainRef): Promise<void> {
    const now = await this.asItIs(ref);
    const { spec, foreign } = describeDomain(now);
    const host = await this.hostFor(spec);
    const kept = foreign.length > 0 ? await this.kept(spec) : undefined;
    await this.deps.hypervisor.define(domainXml(spec, host, kept));
  }

  /** What somebody has put into the domain by hand and no spec can say stays in it. */
  private async kept(spec: DomainSpec): Promise<Kept | undefined> {
    const kept = keptOf(await this.asItIs(spec), spec);
    if (kept)
      this.deps.log.warn({ vm: spec.name, kept: kept.what }, 'a domain is defined anew, with what stood in it by hand');
    return kept;
  }

  /** Everything that a definition takes from this host. @throws BAD_STATE when a file of the VM is gone. */
  private async hostFor(spec: DomainSpec): Promise<DomainHost> {
    const { disks, hostName } = this.deps;
    return this.hostOf(spec, await needFiles(spec, disks, hostName));
  }

  private async hostOf({ uuid, vmId }: DomainRef, volumes: ReadonlyMap<string, VolumeSeen>): Promise<DomainHost> {
    const { disks, bootDir, abilities, hypervisor } = this.deps;
    const host = await abilities();
    const seen = (await this.list()).find((d) => d.uuid === uuid);
    const domain = seen && { uuid, on: !OFF.has(seen.power) };
    const moved =
      domain &&
      (await movedVolumes(
        hypervisor,
        disks,
        domain,
        [...volumes.values()].filter((v) => v.vmId === vmId),
      ));
    return {
      ...host,
      bootDir,
      serialLogPath: disks.serialLogPath(vmId),
      volumePath: (id, seed) =>
        moved?.has(id) ? disks.movedPath(id) : disks.volumePath(id, seed, volumes.get(id)?.format),
      volumeDirectIo: (id) => volumes.get(id)?.directIo ?? host.directIo,
      volumeSource: (id) => volumes.get(id)?.source,
      volumeFormat: (id) => runnable({ volumeId: id, format: volumes.get(id)?.format }),
      imagePath: (id) => {
        const volume = volumes.get(id);
        const digest = volume?.imageDigest;
        return digest === undefined ? undefined : (volume?.backingPath ?? disks.imagePath(digest));
      },
      baseSocket: (id) => {
        const { imageDigest, filling = false } = volumes.get(id) ?? {};
        return imageDigest !== undefined && filling ? disks.baseSocket(imageDigest) : undefined;
      },
      mediumPath: (digest) => disks.imagePath(digest),
    };
  }

  private renamed(seen: DomainSeen, spec: DomainSpec): Error {
    const { hostName } = this.deps;
    return badState(
      `vm ${spec.name} is called ${seen.name} in libvirt on ${hostName}: somebody renamed its domain. ` +
        `Name it back there: virsh domrename ${seen.name} ${spec.name}`,
    );
  }

  private async refuseTakenName(spec: DomainSpec): Promise<void> {
    const other = (await this.list()).find((d) => d.name === spec.name && d.uuid !== spec.uuid);
    if (other === undefined) return;
    const whose = readMark(other.metadataXml)?.vmId ?? 'not made by Berth';
    throw new ClusterError(
      'ALREADY_EXISTS',
      `this host has a domain named ${spec.name} already (${other.uuid}, ${whose}); choose another name or rename that domain`,
    );
  }

  private async doStart(ref: DomainRef): Promise<void> {
    const { name, reason, power } = await this.need(ref);
    if (OFF.has(power)) {
      await this.refuseUnfinished(name, ref);
      await this.deps.mayStart?.({ name, vmId: ref.vmId });
      await this.check.beforeStart(ref.uuid);
    }
    try {
      await this.startOpened(ref, { off: OFF.has(power), saved: reason === 'saved' });
    } catch (failure) {
      const e = await this.check.explain({ name, uuid: ref.uuid }, failure);
      if (reason === 'saved' && isClusterError(e, 'INTERNAL', 'UNSUPPORTED', 'BAD_STATE')) throw notRestored(name, e);
      if (!isClusterError(e, 'NOT_FOUND')) throw e;
      const words = `the domain of vm ${name} was removed from ${this.deps.hostName} just now, by somebody else. `;
      throw badState(`${words}A new start defines it anew: berth vm start ${name}`);
    }
  }

  /**
   * The socket that it reads from changes hands when its image becomes whole: a start in just that moment finds nobody there, and
   * libvirt has no number for that. So one of a guest that rests on a socket is tried again, with what it rests on by then.
   */
  private async startOpened(ref: DomainRef, was: { readonly off: boolean; readonly saved: boolean }): Promise<void> {
    for (let tries = SOCKET_TRIES; ; tries--) {
      const filling = was.off && (await this.openBases(ref));
      const held = was.off && was.saved && (await this.openSaved(ref));
      try {
        return await this.deps.hypervisor.start(ref.uuid);
      } catch (e) {
        if (!(filling || held) || tries <= 1 || !isClusterError(e, 'INTERNAL')) throw e;
        this.deps.log.info({ uuid: ref.uuid, err: e }, 'a start is tried again: what the guest reads may have moved');
      }
    }
  }

  /** An agent that was killed while it changed the guest on a volume goes on with that; until then it is neither old nor new. */
  private async refuseUnfinished(name: string, { vmId }: DomainRef): Promise<void> {
    for (const id of await this.deps.guestDisks.unfinished())
      if ((await this.deps.disks.findVolume(id))?.vmId === vmId)
        throw new ClusterError(
          'RESOURCE_BUSY',
          `vm ${name} cannot start: its guest is being changed on volume ${id}. Try again in a moment`,
        );
  }

  /**
   * What it reads while its images are not whole yet. An image that became whole while the domain was being defined leaves a
   * definition that names a socket which nobody serves any more.
   * @returns whether it reads through a socket
   */
  private async openBases(ref: DomainRef): Promise<boolean> {
    const { disks, hypervisor } = this.deps;
    const own = (await disks.listVolumes()).filter((v) => v.vmId === ref.vmId && v.imageDigest !== undefined);
    const filling = own.filter((v) => v.filling === true);
    for (const digest of new Set(filling.flatMap((v) => v.imageDigest ?? []))) await disks.openBase(digest);
    if (own.length === filling.length) return filling.length > 0;
    const sockets = diskChains(await hypervisor.getXml(ref.uuid)).flatMap((d) => d.socket ?? []);
    const served = new Set(filling.map((v) => disks.baseSocket(v.imageDigest!)));
    if (sockets.some((s) => !served.has(s))) await this.restateNow(ref);
    return filling.length > 0;
  }

  /** What it read when it was saved it reads when it goes on, also when the image has become whole since. @returns whether there is any */
  private async openSaved(ref: DomainRef): Promise<boolean> {
    const { disks, hypervisor } = this.deps;
    const xml = await hypervisor.getSavedXml(ref.uuid);
    const sockets = xml === undefined ? undefined : new Set(diskChains(xml).flatMap((d) => d.socket ?? []));
    const own = (await disks.listVolumes()).filter((v) => v.vmId === ref.vmId && v.filling !== true);
    let opened = false;
    for (const digest of new Set(own.flatMap((v) => v.imageDigest ?? []))) {
      if (!(sockets?.has(disks.baseSocket(digest)) ?? (await disks.hasBase(digest)))) continue;
      await disks.openBase(digest);
      opened = true;
    }
    return opened;
  }

  private async doShutdown(ref: DomainRef): Promise<void> {
    const seen = await this.need(ref);
    if (!OFF.has(seen.power)) await this.deps.hypervisor.shutdown(ref.uuid);
  }

  private async doForceOff(ref: DomainRef): Promise<void> {
    if (await this.find(ref)) await this.deps.hypervisor.destroy(ref.uuid);
  }

  private async doRemove(ref: DomainRef): Promise<void> {
    const seen = await this.find(ref);
    if (seen && !OFF.has(seen.power))
      throw badState(`vm ${seen.name} is ${seen.power} on this host; stop it before its domain is removed`);
    await this.settle(seen, ref.vmId);
    if (seen) await this.deps.hypervisor.undefine(ref.uuid);
    // what was saved went with it
    if (seen) for (const id of await this.onImages(ref.vmId)) await this.deps.disks.endMove(id);
    await this.deps.disks.removeSerialLog(ref.vmId);
  }
}
