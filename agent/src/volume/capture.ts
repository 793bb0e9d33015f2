/**
 * The operation behind CaptureService: a VM's disks become uploads, as they are at one moment. What they become then is an import's
 * business, as of a file that somebody sent: what a guest has written is a stranger's bytes too.
 */
import {
  badState,
  ClusterError,
  invalidArgument,
  isClusterError,
  notFound,
} from '@berth/shared/errors/cluster-error.ts';
import type { DomainRef, Domains } from '../domain/domains.ts';
import { diskChains } from '../domain/xml/chains.ts';
import { troubleOf } from '../drivers/guest-agents.ts';
import type { Disks } from '../drivers/disks.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import type { GuestVerbs } from '../guest/guest-verbs.ts';
import { checkId, checkName, checkUploadId } from '../ids.ts';
import type { ImageOutcome } from '../operations/ledger.ts';
import type { OperationKind, Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import type { Uploads } from './uploads.ts';
import { insistOne } from './whole.ts';

export interface CapturedDisk {
  readonly target: string;
  readonly volumeId: string;
  readonly uploadId: string;
}
export interface CaptureWanted extends DomainRef {
  readonly disks: readonly CapturedDisk[];
  /** What they held then; undefined: what they hold now. */
  readonly snapshot?: string | undefined;
}

export interface CaptureDeps {
  readonly domains: Pick<Domains, 'need'>;
  readonly hypervisor: Pick<Hypervisor, 'backup' | 'getRunningXml' | 'snapshots'>;
  readonly disks: Pick<
    Disks,
    | 'hasTwoFiles'
    | 'captureVolume'
    | 'captureSnapshot'
    | 'captureTarget'
    | 'captureDone'
    | 'removeUpload'
    | 'findVolume'
  >;
  readonly guest: Pick<GuestVerbs, 'freeze' | 'thaw'>;
  readonly uploads: Pick<Uploads, 'keep'>;
  readonly operations: Operations;
}

/** Each fills the disk as fast as it takes it. */
const CAPTURES_AT_ONCE = 2;
const MOST_DISKS = 25;
/** QEMU is asked within seconds; then file systems thaw at once. */
const FREEZE_MS = 30_000;
const OFF: ReadonlySet<string> = new Set(['stopped', 'crashed']);

type Consistency = 'stopped' | 'frozen' | 'crash-consistent' | 'snapshot';

export function checkCapture(w: CaptureWanted): CaptureWanted {
  if (w.disks.length === 0 || w.disks.length > MOST_DISKS)
    throw invalidArgument(`1 to ${MOST_DISKS} disks can be captured at once, not ${w.disks.length}`);
  if (w.snapshot !== undefined) checkName('snapshot', w.snapshot);
  for (const d of w.disks) {
    checkId('volume', d.volumeId);
    checkUploadId(d.uploadId);
    if (!/^[a-z]{2,3}[a-z]{0,2}$/.test(d.target)) throw invalidArgument(`${d.target.slice(0, 20)} is no disk`);
  }
  return w;
}

export class Capture {
  readonly disks: OperationKind<CaptureWanted>;

  constructor(private readonly deps: CaptureDeps) {
    const drop = async (w: CaptureWanted): Promise<void> => {
      for (const d of w.disks) await deps.disks.removeUpload(d.uploadId);
    };
    this.disks = deps.operations.define<CaptureWanted>({
      name: 'image.capture',
      long: { atOnce: CAPTURES_AT_ONCE },
      lockKey: ({ uuid }) => `guest/${uuid}`,
      run: (w, work) => this.run(w, work),
      abandon: drop,
    });
  }

  private async run(w: CaptureWanted, work: Work): Promise<ImageOutcome> {
    work.signal.throwIfAborted();
    // noted before they are there, so that they go with the job, however this agent ends
    for (const d of w.disks) await this.deps.uploads.keep(d.uploadId);
    const { name, power, reason } = await this.deps.domains.need(w);
    if (w.snapshot !== undefined) return outcome(await this.copySnapshot(w, { name, snapshot: w.snapshot }, work));
    // all are of one moment: what a try before this one has copied may be older than what its guest has done since
    for (const d of w.disks) await this.deps.disks.removeUpload(d.uploadId);
    if (reason === 'saved' && OFF.has(power))
      throw badState(
        `vm ${name} is saved: what it holds in memory is not on its disks. Start it, or give that up: ` +
          `berth vm start ${name} --discard-saved`,
      );
    if (!OFF.has(power) && power !== 'running' && power !== 'paused')
      throw badState(`vm ${name} is ${power} on its host; capturing needs one that is off, running or paused`);
    return outcome(OFF.has(power) ? await this.copy(w, work) : await this.backUp(w, power === 'running', work));
  }

  /** What a snapshot holds is not written to, whatever the guest does. */
  private async copySnapshot(
    w: CaptureWanted,
    of: { readonly name: string; readonly snapshot: string },
    work: Work,
  ): Promise<Consistency> {
    const { disks, hypervisor } = this.deps;
    const found = (await hypervisor.snapshots.list(w.uuid)).find((s) => s.name === of.snapshot);
    if (found === undefined) throw notFound(`vm ${of.name} has no snapshot ${of.snapshot} on its host`);
    const outside = w.disks.find((d) => !found.disks.includes(d.target));
    if (outside) throw notFound(`disk ${outside.target} of vm ${of.name} is not in snapshot ${of.snapshot}`);
    for (const d of w.disks)
      await disks.captureSnapshot(d.uploadId, { volumeId: d.volumeId, snapshot: of.snapshot }, work);
    return 'snapshot';
  }

  private async copy(w: CaptureWanted, work: Work): Promise<Consistency> {
    const { disks, domains } = this.deps;
    for (const d of w.disks) await insistOne(disks, d.volumeId);
    for (const d of w.disks) await disks.captureVolume(d.uploadId, d.volumeId, work);
    const { name, power } = await domains.need(w);
    if (!OFF.has(power)) throw badState(`vm ${name} was started on its host while its disks were copied. Try again`);
    return 'stopped';
  }

  private async backUp(w: CaptureWanted, running: boolean, work: Work): Promise<Consistency> {
    const { disks, hypervisor } = this.deps;
    await this.refuseCopying(w);
    const targets = [];
    for (const d of w.disks) {
      const volume = await disks.findVolume(d.volumeId);
      if (!volume) throw notFound(`disk ${d.target} (${d.volumeId}) is not on this host`);
      targets.push({ target: d.target, path: await disks.captureTarget(d.uploadId, volume.sizeBytes) });
    }
    const frozen = running && (await this.freeze(w));
    const thaw = async (): Promise<void> => {
      if (frozen) await this.deps.guest.thaw(w).catch(() => undefined); // it thaws by itself then
    };
    let begun = false;
    const onBegun = (): Promise<void> => {
      begun = true;
      return thaw();
    };
    try {
      await hypervisor.backup(w.uuid, targets, work, onBegun);
    } catch (e) {
      if (!begun) await this.refuseCopying(w); // that began meanwhile
      throw e;
    } finally {
      if (!begun) await thaw();
    }
    for (const d of w.disks) await disks.captureDone(d.uploadId);
    return frozen ? 'frozen' : 'crash-consistent';
  }

  /** A guest that moves to the file of its image, or to another pool: QEMU does one such thing with a disk at a time. */
  private async refuseCopying({ uuid, disks }: CaptureWanted): Promise<void> {
    const chains = diskChains(await this.deps.hypervisor.getRunningXml(uuid));
    const busy = chains.find((d) => d.copying && disks.some((x) => x.target === d.target));
    if (busy === undefined) return;
    const words = `disk ${busy.target} is just being moved to another file on its host. Try again when that has ended`;
    throw new ClusterError('RESOURCE_BUSY', words);
  }

  /** False: nobody in the guest who could; what is captured is then as after a power cut, which file systems are made for. */
  private async freeze(ref: DomainRef): Promise<boolean> {
    try {
      await this.deps.guest.freeze({ uuid: ref.uuid, vmId: ref.vmId }, FREEZE_MS);
      return true;
    } catch (e) {
      if (troubleOf(e) !== undefined || isClusterError(e, 'BAD_STATE', 'UNSUPPORTED', 'DEADLINE_EXCEEDED'))
        return false;
      throw e;
    }
  }
}

const outcome = (detail: Consistency): ImageOutcome => ({
  ...{ digest: '', virtualSizeBytes: 0, fileBytes: 0, sourceDigest: '' },
  detail,
});
