/** Sane devices by the name of a guest system: the table of families, made more exact by libosinfo's data where that is there. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { nearest } from '@berth/shared/units/nearest.ts';
import { familyOf, offered, OLD, PLAIN, VIRTIO, type Devices, type Offered } from './families.ts';
import type { OsRecord } from './osinfo.ts';

/** libosinfo's ids of what decides. */
const PCI = 'http://pcisig.com/pci/';
const BLOCK = [`${PCI}1af4/1001`, `${PCI}1af4/1042`];
const NET = [`${PCI}1af4/1000`, `${PCI}1af4/1041`];
const NICS = [
  [`${PCI}8086/10d3`, 'e1000e'],
  [`${PCI}8086/100e`, 'e1000'],
] as const;

export class Guests {
  #known: ReadonlyMap<string, OsRecord> = new Map();

  /** @param known as osinfo.ts reads it; it comes when it has been read. */
  learn(known: ReadonlyMap<string, OsRecord>): void {
    this.#known = known;
  }

  /** What can be given as the name of a guest. */
  list(): readonly Offered[] {
    const own = offered();
    const more = [...this.#known.values()]
      .filter((os) => !own.some((o) => o.name === os.name))
      .map(({ name, title, family }) => ({ name, title, family: familyOf(name)?.name ?? family }));
    return [...own, ...more].sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  }

  /** @throws INVALID_ARGUMENT, with the names that are spelt nearly so. */
  devices(name: string): Devices {
    const os = this.#known.get(name);
    const family = familyOf(name);
    if (os) return refined(family?.devices ?? devicesByKind(os), os);
    if (family) return family.devices;
    const near = nearest(
      name,
      this.list().map((g) => g.name),
    );
    const hint = near.length > 0 ? `Did you mean ${near.join(' or ')}?` : 'See: berth vm guests';
    throw invalidArgument(`${JSON.stringify(name.slice(0, 40))} is no guest that is known here. ${hint}`);
  }
}

const devicesByKind = (os: OsRecord): Devices => (hasAny(os, BLOCK) && hasAny(os, NET) ? VIRTIO : older(os));

const older = (os: OsRecord): Devices => (/^(win9x|msdos|win16)$/.test(os.family) ? OLD : PLAIN);

const hasAny = (os: OsRecord, ids: readonly string[]): boolean => ids.some((id) => os.devices.has(id));

/** Records that name no devices at all say nothing. */
function refined(devices: Devices, os: OsRecord): Devices {
  const memoryBytes = Math.max(os.memoryBytes ?? 0, 0) || devices.memoryBytes;
  if (os.devices.size === 0) return { ...devices, memoryBytes };
  const diskBus = devices.diskBus === 'virtio' && !hasAny(os, BLOCK) ? 'sata' : devices.diskBus;
  const card = NICS.find(([id]) => os.devices.has(id))?.[1] ?? PLAIN.nicModel;
  const nicModel = devices.nicModel === 'virtio' && !hasAny(os, NET) ? card : devices.nicModel;
  return { ...devices, diskBus, nicModel, memoryBytes };
}
