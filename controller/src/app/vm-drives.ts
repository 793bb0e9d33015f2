/** Disks and CD-ROM drives of a VM's definition: which is which, their names in the guest, sizes and images. Writes nothing. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { diskOptionsOf } from '@berth/shared/hardware/definition-wire.ts';
import type { CdromDefinition, DiskDefinition } from '@berth/shared/hardware/definition.ts';
import type { CdromBus, DiskBus, DiskOptions } from '@berth/shared/hardware/schema.ts';
import { busOf, freeTarget } from '@berth/shared/hardware/targets.ts';
import { familyOf } from '@berth/shared/model/image-name.ts';
import { newId } from '@berth/shared/model/ids.ts';
import type { Image } from '@berth/shared/model/image.ts';
import type { VmCdrom, VmDisk } from '@berth/shared/model/vm.ts';
import { formatBytes, unitBytes } from '@berth/shared/units/bytes.ts';
import type { Faults } from './faults.ts';
import { paired } from './paired.ts';
import { isOfBlocks } from '../jobs/world-pools.ts';
import { diskPool } from './vm-pools.ts';
import type { Tables } from '../state/state.ts';

const MIB = 1024 ** 2;
const TIB = 1024 ** 4;
export const DEFAULT_DISK_BYTES = 10 * 1024 * MIB;

export interface DriveMaker {
  readonly nowMs: number;
  readonly faults: Faults;
  /** @throws NOT_FOUND or BAD_STATE when it can't be had. */
  imageOf(name: string): Image;
  readonly tables: Pick<Tables, 'pools'>;
}

/** @param before of a VM that is there: its disks stay what they are. */
export function disksOf(
  from: DriveMaker,
  wanted: readonly DiskDefinition[],
  before: readonly VmDisk[],
  usual: DiskBus,
): readonly VmDisk[] {
  const was = which(wanted, before);
  for (const b of before)
    if (!was.includes(b))
      from.faults.add(
        `disk ${b.target} (${formatBytes(b.sizeBytes)}) is not in the definition, and a disk is not removed: its data would be ` +
          `lost. Put it back; what it holds goes only with its vm`,
      );
  const buses = wanted.map((d, i) => d.bus ?? busWas(was[i], d.target) ?? usual);
  const asked = wanted.map((d, i) => ({ target: d.target, bus: buses[i] ?? usual, was: was[i]?.target }));
  const names = targets(from, 'disks', asked);
  return wanted.map((d, i) => disk(from, d, was[i], { target: names[i] ?? '', bus: buses[i] ?? usual, i }));
}

/** A disk that goes to another bus gets another name there: when none is added or gone, it is told by its place. */
function which(wanted: readonly DiskDefinition[], before: readonly VmDisk[]): readonly (VmDisk | undefined)[] {
  const was = paired(
    wanted,
    before,
    (d, b) => d.target === b.target,
    (d) => d.target === undefined,
  );
  if (wanted.length !== before.length) return was;
  const left = before.filter((b) => !was.includes(b));
  return was.map((b) => b ?? left.shift());
}

const busWas = (was: VmDisk | undefined, target: string | undefined): DiskBus | undefined =>
  target !== undefined ? busOf(target) : was && (was.options?.bus ?? busOf(was.target));

interface Place {
  readonly target: string;
  readonly bus: DiskBus;
  readonly i: number;
}

function disk(from: DriveMaker, d: DiskDefinition, was: VmDisk | undefined, place: Place): VmDisk {
  if (was === undefined) return newDisk(from, d, place);
  from.faults.of(undefined, () => insistSame(from, d, was, `disks.${place.i}`));
  const { target: _, options: __, ...stays } = was;
  return { target: place.target, ...stays, ...optionsOf(d, place.bus, was.options?.format) };
}

function newDisk(from: DriveMaker, d: DiskDefinition, { target, bus, i }: Place): VmDisk {
  const pool = from.faults.of({}, () => diskPool(from.tables, d.pool, `disks.${i}`));
  const blocks = isOfBlocks(from.tables, pool.poolId);
  if (blocks && d.format === 'qcow2')
    from.faults.add(`disks.${i}.format is qcow2, but pool ${d.pool} holds no files: disks there are raw`);
  const image = d.image === undefined ? undefined : from.imageOf(d.image);
  const sizeBytes = from.faults.of(0, () => diskSize(d.sizeBytes ?? 0, image));
  const made = blocks && image ? { imageId: undefined, copyOf: image.id } : { imageId: image?.id };
  const options = optionsOf(d, bus, blocks ? 'raw' : diskOptionsOf(d)?.format);
  return { target, volumeId: newId('volume', from.nowMs), sizeBytes, ...made, ...pool, ...options };
}

/** virtio is what every agent takes a disk for of which nothing is said. */
function optionsOf(d: DiskDefinition, bus: DiskBus, format: DiskOptions['format']): Pick<VmDisk, 'options'> {
  const { bus: _, format: __, ...more } = diskOptionsOf(d) ?? {};
  const all = { ...(bus !== 'virtio' && { bus }), ...more, ...(format && { format }) };
  return Object.keys(all).length > 0 ? { options: all } : {};
}

function insistSame(from: DriveMaker, d: DiskDefinition, was: VmDisk, at: string): void {
  if (d.sizeBytes !== undefined && Math.ceil(d.sizeBytes / 512) * 512 !== was.sizeBytes)
    throw invalidArgument(
      `${at}.size is ${unitBytes(d.sizeBytes)}, but ${was.target} has ${unitBytes(was.sizeBytes)}: the size of a disk stays. ` +
        `Add another disk for more room`,
    );
  if (d.format !== undefined && d.format !== (was.options?.format ?? 'qcow2'))
    throw invalidArgument(`${at}.format is ${d.format}, but ${was.target} was made otherwise, and stays`);
  if (d.pool !== undefined && diskPool(from.tables, d.pool, at).poolId !== was.poolId)
    throw invalidArgument(`${at}.pool is ${d.pool}, but ${was.target} lies in another pool, and stays there`);
  if (d.image !== undefined && !sameImage(from, d.image, was.imageId ?? was.copyOf))
    throw invalidArgument(`${at}.image is ${d.image}, but ${was.target} was made from something else, and stays`);
}

/** A name that moves from version to version (`debian`, a tag) is no wish for another version below a disk that is there. */
function sameImage(from: DriveMaker, said: string, imageId: VmDisk['imageId']): boolean {
  const named = from.imageOf(said);
  if (named.id === imageId) return true;
  if (imageId === undefined || named.name === said || named.id === said) return false;
  return familyOf(from.imageOf(imageId).name) === familyOf(named.name);
}

/** @param wanted 0: the image's, or the usual one. */
export function diskSize(wanted: number, image: Image | undefined): number {
  const least = image?.virtualSizeBytes ?? MIB;
  const bytes = wanted || image?.virtualSizeBytes || DEFAULT_DISK_BYTES;
  if (image && bytes < least)
    throw invalidArgument(
      `a disk of ${formatBytes(bytes)} is too small for image ${image.name}: it needs ${formatBytes(least)} or more`,
    );
  const floor = Math.min(least, MIB);
  if (!Number.isSafeInteger(bytes) || bytes < floor || bytes > 64 * TIB)
    throw invalidArgument(
      `the disk size must be between ${formatBytes(floor)} and ${formatBytes(64 * TIB)}, not ${formatBytes(bytes)}`,
    );
  return Math.ceil(bytes / 512) * 512;
}

/** @param taken targets of the disks. @param usual of the machine. */
export function cdromsOf(
  from: DriveMaker,
  wanted: readonly CdromDefinition[],
  taken: readonly string[],
  usual: CdromBus,
): readonly VmCdrom[] {
  const buses = wanted.map((c) => c.bus ?? cdromBus(c.target) ?? usual);
  const asked = wanted.map((c, i) => ({ target: c.target, bus: buses[i] ?? usual, was: undefined }));
  const names = targets(from, 'cdroms', asked, taken);
  return wanted.map((c, i) => ({
    target: names[i] ?? '',
    bus: buses[i] ?? usual,
    imageId: c.image === undefined ? undefined : from.imageOf(c.image).id,
  }));
}

function cdromBus(target: string | undefined): CdromBus | undefined {
  const bus = target === undefined ? undefined : busOf(target);
  return bus === 'virtio' ? undefined : bus;
}

interface Named {
  readonly target: string | undefined;
  readonly bus: DiskBus;
  readonly was: string | undefined;
}

/** What is said, then what they were called on that bus, then the first free one. */
function targets(from: DriveMaker, list: string, wanted: readonly Named[], others: readonly string[] = []): string[] {
  const keep = (w: Named): string | undefined =>
    w.target ?? (w.was !== undefined && freeTarget(w.bus, [])?.slice(0, 2) === w.was.slice(0, 2) ? w.was : undefined);
  const taken = [...others, ...wanted.flatMap((w) => keep(w) ?? [])];
  return wanted.map((w, i) => {
    const name = keep(w) ?? freeTarget(w.bus, taken);
    if (name === undefined) from.faults.add(`${list}.${i} has no room on bus ${w.bus}: it is full`);
    taken.push(name ?? '');
    return name ?? '';
  });
}
