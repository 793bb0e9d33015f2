/** From what a person asked for to a VM row: limits, defaults, ids, MAC. Reads tables; writes nothing. */
import { invalidArgument, unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { VmDefinition } from '@berth/shared/hardware/definition.ts';
import { newId } from '@berth/shared/model/ids.ts';
import type { Image } from '@berth/shared/model/image.ts';
import { checkLabels } from '@berth/shared/labels/labels.ts';
import { RUN_POLICIES, type RunPolicy, type Vm, type VmDisk, type VmSpec } from '@berth/shared/model/vm.ts';
import { newUuid } from '@berth/shared/runtime/random.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { CLONE_KINDS, type CloneKind } from '../jobs/clone-bases.ts';
import { isOfBlocks } from '../jobs/world-pools.ts';
import { systemDisk } from '../jobs/offline-identity.ts';
import { withDefaults } from './image-defaults.ts';
import { checkName } from './names.ts';
import { checkIdentity, checkKey, offlineOf } from './vm-identity.ts';
import { diskSize } from './vm-drives.ts';
import { DEFAULT_BRIDGE } from './vm-nics.ts';
import { poolName } from './vm-pools.ts';
import { definedSpec, type SpecMaker } from './vm-spec.ts';

/** Zero and empty mean the default, as in the public API. */
export interface CreateVm {
  readonly name: string;
  readonly vcpus: number;
  readonly memoryBytes: number;
  readonly diskSizeBytes: number;
  readonly host: string;
  readonly bridge: string;
  readonly mac: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly dryRun: boolean;
  readonly runPolicy?: string | undefined;
  /** The rest; what the fields above say goes before it. */
  readonly definition?: VmDefinition | undefined;
  /** It shall have none; else one is made when none is said. */
  readonly noDisks?: boolean | undefined;
  readonly noNics?: boolean | undefined;
  readonly sshKeys?: readonly string[] | undefined;
  readonly userData?: string | undefined;
  /** Of its disks of which none is said. */
  readonly pool?: string | undefined;
  /** Before the definition's. */
  readonly identity?: string | undefined;
  readonly firstBoot?: string | undefined;
  /** When it is made; room to run is kept for it. */
  readonly start?: boolean | undefined;
  /** Its addresses may be another VM's too. */
  readonly allowTakenAddress?: boolean | undefined;
}

export interface CloneVm extends CreateVm {
  readonly image: string;
  readonly address: string;
  readonly gateway: string;
  readonly dns: readonly string[];
  /** linked, instant, full; empty: linked where its host has the image, else instant. */
  readonly kind?: string | undefined;
}

const MIB = 1024 ** 2;
const TIB = 1024 ** 4;

/** @param image below its first disk, or undefined for a blank one. */
export function newVm(from: SpecMaker, r: CreateVm & Partial<CloneVm>, image: Image | undefined): Vm {
  const name = checkName('vm', r.name);
  const maker = { ...from, sharesAddresses: r.allowTakenAddress === true };
  const spec = definedSpec(maker, `vm ${name}`, wanted(r, image ?? imageSaid(from, r), image), undefined);
  const template = spec.disks.some((d) => (d.imageId ?? d.copyOf) !== undefined);
  const offline = offlineOf(spec.identity, { ...r, template });
  const disks = spec.disks.map((d) => ofKind(from, d, cloneKind(r)));
  refuseOffline(from, spec);
  return {
    id: newId('vm', from.nowMs),
    name,
    uuid: newUuid(),
    phase: 'creating',
    hostId: undefined,
    desiredPower: 'off',
    spec: {
      ...{ ...spec, disks },
      seedVolumeId: template && spec.identity === undefined ? newId('volume', from.nowMs) : undefined,
      ...offline,
      sshKeys: (r.sshKeys ?? []).map(checkKey),
      userData: checkUserData(r.userData ?? ''),
      labels: checkLabels('a vm', r.labels),
    },
    generation: 1,
    createdAtMs: from.nowMs,
  };
}

/** @throws INVALID_ARGUMENT */
export function cloneKind({ kind }: Partial<CloneVm>): CloneKind | undefined {
  const known = CLONE_KINDS.find((k) => k === kind);
  if (known === undefined && kind !== undefined && kind !== '')
    throw invalidArgument(`${JSON.stringify(kind.slice(0, 40))} is no kind of clone: ${CLONE_KINDS.join(', ')}`);
  return known;
}

/** In a pool that holds no files every clone is a copy. */
function ofKind({ tables }: SpecMaker, d: VmDisk, kind: CloneKind | undefined): VmDisk {
  if (d.copyOf !== undefined && kind !== undefined && kind !== 'full')
    throw invalidArgument(
      `disk ${d.target} cannot be ${kind}: pool ${poolName(tables, d.poolId)} holds no overlays, clones there are full`,
    );
  return kind === 'full' ? asCopy(d) : d;
}

/** The appliance that changes guests opens files. */
function refuseOffline({ tables }: SpecMaker, spec: Pick<VmSpec, 'disks' | 'identity'>): void {
  const disk = spec.identity === 'offline' ? systemDisk(spec) : undefined;
  if (disk && isOfBlocks(tables, disk.poolId))
    throw unsupported(
      `identity offline changes the guest on disk ${disk.target}, and cannot in pool ${poolName(tables, disk.poolId)}, which ` +
        `holds no files. Use cloud-init, or another pool`,
    );
}

function asCopy(d: VmDisk): VmDisk {
  return d.imageId === undefined ? d : { ...d, imageId: undefined, copyOf: d.imageId };
}

/** Of a definition: the image below its first disk. What is wrong with its name is told with all else. */
function imageSaid(from: SpecMaker, { definition }: CreateVm): Image | undefined {
  const name = definition?.disks?.[0]?.image;
  try {
    return name === undefined ? undefined : from.imageOf(name);
  } catch {
    return undefined;
  }
}

/** The definition with what the fields beside it say, over what its image says. */
function wanted(
  r: CreateVm & Partial<CloneVm>,
  { defaults }: Partial<Image> = {},
  image: Image | undefined,
): VmDefinition {
  const { nics: usual, ...others } = defaults ?? {};
  const d = withDefaults(r.definition ?? {}, { ...others, ...(usual && r.noNics !== true && { nics: usual }) });
  if (r.vcpus) within('vCPUs', r.vcpus, 1, 1024, String);
  if (r.memoryBytes) within('memory', r.memoryBytes, 16 * MIB, 64 * TIB, formatBytes);
  const runPolicy = r.runPolicy ? checkRunPolicy(r.runPolicy) : d.runPolicy;
  return {
    ...d,
    ...(r.vcpus && { vcpus: r.vcpus }),
    ...(r.memoryBytes && { memoryBytes: r.memoryBytes }),
    ...(runPolicy && { runPolicy }),
    ...(r.identity && { identity: checkIdentity(r.identity) }),
    disks: disks(r, d, image).map((x) => (r.pool && x.pool === undefined ? { ...x, pool: r.pool } : x)),
    nics: nics(r, d),
  };
}

function disks(r: CreateVm, d: VmDefinition, image: Image | undefined): NonNullable<VmDefinition['disks']> {
  const [first, ...more] = d.disks ?? [];
  if (first === undefined && r.noDisks === true) {
    if (r.diskSizeBytes > 0 || image)
      throw invalidArgument('a size or an image of a disk, and no disk, were asked for');
    return [];
  }
  const sizeBytes = r.diskSizeBytes || first?.sizeBytes;
  // here it is refused in words that fit the one size that was asked for
  if (r.diskSizeBytes) diskSize(r.diskSizeBytes, image);
  return [{ ...first, ...(sizeBytes && { sizeBytes }), ...(image && { image: image.name }) }, ...more];
}

function nics(r: CreateVm & Partial<CloneVm>, d: VmDefinition): NonNullable<VmDefinition['nics']> {
  const [first, ...more] = d.nics ?? [];
  const { mac, address, gateway, dns = [] } = r;
  const beside = Object.fromEntries(Object.entries({ mac, address, gateway }).filter(([, v]) => v));
  const named = { ...beside, ...(dns.length > 0 && { dns }) };
  if (first === undefined && r.noNics === true) {
    if (r.bridge || Object.keys(named).length > 0)
      throw invalidArgument('something of a network card, and no network card, were asked for');
    return [];
  }
  const bridge = r.bridge || first?.bridge || (first?.network === undefined ? DEFAULT_BRIDGE : undefined);
  return [{ ...first, ...(bridge && { bridge }), ...named }, ...more];
}

function within(what: string, n: number, least: number, most: number, show: (n: number) => string): number {
  if (Number.isSafeInteger(n) && n >= least && n <= most) return n;
  throw invalidArgument(`${what} must be between ${show(least)} and ${show(most)}, not ${show(n)}`);
}

function checkRunPolicy(policy: string | undefined): RunPolicy {
  const known = RUN_POLICIES.find((p) => p === (policy || 'manual'));
  if (known) return known;
  throw invalidArgument(`${JSON.stringify(policy?.slice(0, 40))} is no run policy: ${RUN_POLICIES.join(', ')}`);
}

function checkUserData(text: string): string {
  if (Buffer.byteLength(text) > 65_536)
    throw invalidArgument(`user-data is ${Buffer.byteLength(text)} bytes long; 65536 are allowed`);
  // what was no UTF-8 comes as U+FFFD
  if (!/[\0\uFFFD]/.test(text)) return text;
  throw invalidArgument('user-data must be text in UTF-8. If it is compressed, unpack it first: gunzip');
}
