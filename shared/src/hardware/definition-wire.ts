/** A VM's definition on the wire (VmSpec) and inside. Field for field the same; what is empty on the wire is not said. */
import { VmSpec, type VmCdrom, type VmDisk, type VmNic } from '@berth/proto/v1/vm.ts';
import { invalidArgument } from '../errors/cluster-error.ts';
import { faultsOf } from './check.ts';
import {
  definitionSchema,
  HARDWARE_FIELDS,
  pick,
  said,
  type DiskDefinition,
  type NicDefinition,
  type VmDefinition,
} from './definition.ts';
import { diskOptionsSchema, nicOptionsSchema, type DiskOptions, type Hardware, type NicOptions } from './schema.ts';
import { diskOptionsToWire, fromWire, hardwareToWire, nicOptionsToWire } from './wire.ts';

const DISK_FIELDS = Object.keys(diskOptionsSchema.shape);
const NIC_FIELDS = Object.keys(nicOptionsSchema.shape);

/** Of a part of a definition: its options, when there are any. */
export const diskOptionsOf = (d: DiskDefinition): DiskOptions | undefined =>
  some(pick(d, (k) => DISK_FIELDS.includes(k)));
export const nicOptionsOf = (n: NicDefinition): NicOptions | undefined => some(pick(n, (k) => NIC_FIELDS.includes(k)));
/** Passwords stay in it; that there is one, which only answers tell, does not. */
export function hardwareOf(d: VmDefinition): Hardware | undefined {
  const graphics = d.graphics?.map(({ passwordSet: _, ...g }) => g);
  return some(pick({ ...d, graphics }, (k) => HARDWARE_FIELDS.includes(k)));
}

const some = <T extends object>(o: T): T | undefined => (Object.keys(o).length === 0 ? undefined : o);

/**
 * What came over the wire, checked; whether its parts fit together is for who knows all of them. Empty lists are kept.
 * @throws INVALID_ARGUMENT, one line per fault. @param what begins each: `vm web`
 */
export function definitionFromWire(what: string, m: VmSpec): VmDefinition {
  const hardware = (m.hardware ? fromWire(m.hardware) : {}) as object;
  const value = said({
    vcpus: m.vcpus || undefined,
    memoryBytes: size('memory', m.memoryBytes),
    runPolicy: m.runPolicy || undefined,
    osVariant: m.osVariant || undefined,
    identity: m.identity || undefined,
    disks: m.disks.map(readDisk),
    cdroms: m.cdroms.map(readCdrom),
    nics: m.nics.map(readNic),
    ...hardware,
  });
  return checkDefinition(what, value);
}

/** @throws INVALID_ARGUMENT, one line per fault. @param what begins each: `vm web` */
export function checkDefinition(what: string, value: unknown): VmDefinition {
  const result = definitionSchema.safeParse(value);
  if (result.success) return result.data;
  const faults = result.error.issues.flatMap(faultsOf).slice(0, 20);
  throw invalidArgument(faults.map(([path, why]) => `${what}: ${path} ${why}`).join('\n'));
}

export function definitionToWire(d: VmDefinition): VmSpec {
  const hardware = some(pick(d, (k) => HARDWARE_FIELDS.includes(k))) as Hardware | undefined;
  return VmSpec.fromPartial({
    ...{ vcpus: d.vcpus ?? 0, memoryBytes: BigInt(d.memoryBytes ?? 0), runPolicy: d.runPolicy ?? '' },
    ...(d.osVariant !== undefined && { osVariant: d.osVariant }),
    ...(d.identity !== undefined && { identity: d.identity }),
    disks: (d.disks ?? []).map(writeDisk),
    cdroms: (d.cdroms ?? []).map((c) => ({ target: c.target ?? '', bus: c.bus ?? '', image: c.image ?? '' })),
    nics: (d.nics ?? []).map(writeNic),
    ...(hardware && { hardware: hardwareToWire(hardware) }),
  });
}

function size(field: string, n: bigint): number | undefined {
  if (n > BigInt(Number.MAX_SAFE_INTEGER)) throw invalidArgument(`${field} of ${n} is too large`);
  return n === 0n ? undefined : Number(n);
}

const readDisk = (d: VmDisk, i: number): object =>
  said({
    target: d.target || undefined,
    sizeBytes: size(`disks.${i}.size`, d.sizeBytes),
    image: d.image || undefined,
    pool: d.pool || undefined,
    ...(d.options && (fromWire(d.options) as object)),
  });

const readCdrom = (c: VmCdrom): object =>
  said({ target: c.target || undefined, bus: c.bus || undefined, image: c.image || undefined });

const readNic = (n: VmNic): object =>
  said({
    ...{ mac: n.mac || undefined, bridge: n.bridge || undefined, network: n.network || undefined },
    model: n.model || undefined,
    ...{ address: n.address || undefined, gateway: n.gateway || undefined },
    dns: n.dns.length > 0 ? n.dns : undefined,
    ...(n.options && (fromWire(n.options) as object)),
  });

function writeDisk(d: DiskDefinition) {
  const options = diskOptionsOf(d);
  return {
    ...{ target: d.target ?? '', sizeBytes: BigInt(d.sizeBytes ?? 0), image: d.image ?? '' },
    ...(d.pool && { pool: d.pool }),
    ...(options && { options: diskOptionsToWire(options) }),
  };
}

function writeNic(n: NicDefinition) {
  const options = nicOptionsOf(n);
  return {
    ...{ mac: n.mac ?? '', bridge: n.bridge ?? '', model: n.model ?? '' },
    ...(n.network && { network: n.network }),
    ...{ address: n.address ?? '', gateway: n.gateway ?? '', dns: [...(n.dns ?? [])] },
    ...(options && { options: nicOptionsToWire(options) }),
  };
}
