/**
 * From a definition, as it is asked for, to the spec of a VM: what the guest's family has where nothing is said, defaults, ids,
 * MACs, targets; and whether all of it can be one machine. The same for a VM that is made and for one that is changed, so
 * that the same definition comes to the same spec, however often. Reads tables; writes nothing.
 */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { isQ35 } from '@berth/shared/hardware/check-devices.ts';
import { checkMachine } from '@berth/shared/hardware/check.ts';
import { hardwareOf } from '@berth/shared/hardware/definition-wire.ts';
import type { VmDefinition } from '@berth/shared/hardware/definition.ts';
import type { Hardware } from '@berth/shared/hardware/schema.ts';
import type { VmId } from '@berth/shared/model/ids.ts';
import type { Image } from '@berth/shared/model/image.ts';
import type { RunPolicy, VmSpec } from '@berth/shared/model/vm.ts';
import type { Random } from '@berth/shared/runtime/random.ts';
import type { Devices } from '../guests/families.ts';
import type { Guests } from '../guests/guests.ts';
import { baselineOf, beyondBaseline } from '../jobs/cpu-wanted.ts';
import type { Tables } from '../state/state.ts';
import { Faults } from './faults.ts';
import { identityOf } from './vm-identity.ts';
import { cdromsOf, disksOf } from './vm-drives.ts';
import { nicsOf } from './vm-nics.ts';

export interface SpecMaker {
  readonly tables: Tables;
  readonly random: Random;
  readonly nowMs: number;
  readonly guests: Pick<Guests, 'devices'>;
  /** The VM, when it is there already. */
  readonly own?: VmId;
  /** An address may be another VM's too. */
  readonly sharesAddresses?: boolean;
  /** @throws NOT_FOUND or BAD_STATE when it can't be had. */
  imageOf(name: string): Image;
}

/** Of a VM of which nothing is said. */
const USUAL: Devices = {
  ...{ diskBus: 'virtio', nicModel: 'virtio', hardware: {}, vcpus: 1, memoryBytes: 512 * 2 ** 20 },
};

/** What a definition decides; keys, labels and the seed are for who makes a VM. */
export type DefinedSpec = Pick<
  VmSpec,
  'vcpus' | 'memoryBytes' | 'disks' | 'nics' | 'cdroms' | 'hardware' | 'runPolicy' | 'osVariant' | 'identity'
>;

/**
 * @param what begins the lines of a refusal: `vm web`. @param before of a VM that is changed.
 * @throws INVALID_ARGUMENT, one line per fault
 */
export function definedSpec(from: SpecMaker, what: string, d: VmDefinition, before: VmSpec | undefined): DefinedSpec {
  const faults = new Faults();
  const maker = { ...from, faults };
  const usual = d.osVariant === undefined ? USUAL : faults.of(USUAL, () => from.guests.devices(d.osVariant ?? ''));
  const said = { ...usual.hardware, ...withPasswords(hardwareOf(d) ?? {}, d, before?.hardware) };
  const parts = partsOf(maker, d, { before, usual, q35: isQ35({ hardware: said }) });
  const hardware = { ...said, ...bootOrder(said, parts.disks.length > 0, parts.cdroms.length > 0) };
  const sizes = { vcpus: d.vcpus ?? usual.vcpus, memoryBytes: d.memoryBytes ?? usual.memoryBytes };
  faults.of(undefined, () => checkMachine(what, { ...sizes, hardware, ...parts }));
  const beyond = beyondBaseline(hardware.cpu, baselineOf(from.tables));
  if (beyond) faults.add(`${what}: ${beyond}: see berth cluster show`);
  for (const [i, x] of parts.disks.entries())
    if (x.options?.format === 'raw' && x.imageId !== undefined)
      faults.add(`${what}: disks.${i}.format raw is only for blank disks: one over an image is qcow2`);
  const identity = faults.of({}, () => identityOf(what, d, before));
  faults.refuse();
  const { disks, nics, cdroms } = parts;
  return {
    ...sizes,
    ...{ disks, nics, runPolicy: (d.runPolicy ?? 'manual') satisfies RunPolicy },
    ...(Object.keys(hardware).length > 0 && { hardware }),
    ...(cdroms.length > 0 && { cdroms }),
    ...(d.osVariant !== undefined && { osVariant: d.osVariant }),
    ...identity,
  };
}

interface About {
  readonly before: VmSpec | undefined;
  readonly usual: Devices;
  readonly q35: boolean;
}

function partsOf(from: SpecMaker & { readonly faults: Faults }, d: VmDefinition, { before, usual, q35 }: About) {
  const disks = disksOf(from, d.disks ?? [], before?.disks ?? [], usual.diskBus);
  const taken = disks.map((x) => x.target);
  const cdroms = cdromsOf(from, d.cdroms ?? [], taken, q35 ? 'sata' : 'ide');
  return { disks, cdroms, nics: nicsOf({ ...from, model: usual.nicModel }, d.nics ?? [], before?.nics) };
}

/** A blank disk boots nothing, so the CD-ROM after it is booted once: what it installs comes first from then on. */
const bootOrder = (said: Hardware, disk: boolean, cdrom: boolean): Pick<Hardware, 'boot'> =>
  !cdrom || said.boot?.order !== undefined || said.kernel !== undefined
    ? {}
    : { boot: { ...said.boot, order: disk ? ['disk', 'cdrom'] : ['cdrom'] } };

/** A password is never shown, so a definition that was shown and comes back has none: it stays, unless it is taken away. */
function withPasswords(said: Hardware, d: VmDefinition, before: Hardware | undefined): Hardware {
  if (said.graphics === undefined) return said;
  const graphics = said.graphics.map((g, i) => {
    const asked = d.graphics?.[i];
    const was = before?.graphics?.find((b) => b.type === g.type)?.password;
    if (asked?.passwordSet === false && g.password !== undefined)
      throw invalidArgument(`graphics.${i} has a password, and passwordSet false; choose`);
    const keep = g.password === undefined && was !== undefined && asked?.passwordSet !== false;
    return keep ? { ...g, password: was } : g;
  });
  return { ...said, graphics };
}
