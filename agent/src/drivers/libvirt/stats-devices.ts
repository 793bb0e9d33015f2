/**
 * What libvirt tells of each disk, network card and vCPU of a domain: fields that are numbered per device, put together again, and
 * added up. Pure.
 */
import type { DomainCounters, DomainDisk, DomainNic } from '../hypervisor.ts';

type Writable<T> = { -readonly [K in keyof T]: T[K] };
type Disk = Writable<DomainDisk>;
type Nic = Writable<DomainNic>;

const DISK: Readonly<Record<string, Exclude<keyof Disk, 'target'>>> = {
  ...{ 'rd.bytes': 'readBytes', 'wr.bytes': 'writeBytes', 'rd.reqs': 'reads', 'wr.reqs': 'writes' },
  ...{ 'fl.reqs': 'flushes', 'rd.times': 'readNs', 'wr.times': 'writeNs', 'fl.times': 'flushNs' },
  ...{ capacity: 'capacityBytes', allocation: 'allocationBytes' },
};
const NIC: Readonly<Record<string, Exclude<keyof Nic, 'name'>>> = {
  ...{ 'rx.bytes': 'receiveBytes', 'tx.bytes': 'transmitBytes', 'rx.pkts': 'receivePackets' },
  ...{ 'tx.pkts': 'transmitPackets', 'rx.errs': 'errors', 'tx.errs': 'errors', 'rx.drop': 'drops', 'tx.drop': 'drops' },
};

type Slot =
  | { readonly of: 'disk'; readonly i: number; readonly field: Exclude<keyof Disk, 'target'> | 'target' }
  | { readonly of: 'nic'; readonly i: number; readonly field: Exclude<keyof Nic, 'name'> | 'name' }
  | { readonly of: 'delay' };

/** The same few names come with every sample of every domain: each is taken apart once. */
const known = new Map<string, Slot | undefined>();
const MOST_KNOWN = 8_192;
/** No domain has more that it would be sensible to look at one by one. */
const MOST_DEVICES = 256;

function parse(name: string): Slot | undefined {
  const [, kind, number, field = ''] = /^(net|block|vcpu)\.(\d+)\.(.+)$/.exec(name) ?? [];
  const i = Number(number);
  if (kind === undefined || i >= MOST_DEVICES) return undefined;
  if (kind === 'vcpu') return field === 'delay' ? { of: 'delay' } : undefined;
  if (kind === 'block') {
    const slot = field === 'name' ? 'target' : DISK[field];
    return slot && { of: 'disk', i, field: slot };
  }
  const slot = field === 'name' ? 'name' : NIC[field];
  return slot && { of: 'nic', i, field: slot };
}

function slotOf(name: string): Slot | undefined {
  if (known.has(name)) return known.get(name);
  if (known.size >= MOST_KNOWN) known.clear();
  const slot = parse(name);
  known.set(name, slot);
  return slot;
}

const count = (v: number | string): number =>
  typeof v === 'number' && v > 0 && Number.isFinite(v) ? Math.trunc(v) : 0;

const newDisk = (): Disk => ({
  ...{ target: '', readBytes: 0, writeBytes: 0, reads: 0, writes: 0, flushes: 0, readNs: 0, writeNs: 0, flushNs: 0 },
  ...{ capacityBytes: 0, allocationBytes: 0 },
});
const newNic = (): Nic => ({
  ...{ name: '', receiveBytes: 0, transmitBytes: 0, receivePackets: 0, transmitPackets: 0, errors: 0, drops: 0 },
});

export class Devices {
  readonly #disks: Disk[] = [];
  readonly #nics: Nic[] = [];
  #delayNs: number | undefined;

  /** @returns whether the field is one of these. */
  take(name: string, value: number | string): boolean {
    const slot = slotOf(name);
    if (slot === undefined) return false;
    if (slot.of === 'delay') this.#delayNs = (this.#delayNs ?? 0) + count(value);
    else if (slot.of === 'disk') this.#takeDisk(slot.i, slot.field, value);
    else this.#takeNic(slot.i, slot.field, value);
    return true;
  }

  /** Without those that have no name: backing files of a disk are counted apart by libvirt, and are no disks. */
  found(): Pick<DomainCounters, 'disks' | 'nics' | 'vcpuDelayNs'> {
    return {
      disks: this.#disks.filter((d) => d !== undefined && d.target !== ''),
      nics: this.#nics.filter((n) => n !== undefined && n.name !== ''),
      ...(this.#delayNs === undefined ? {} : { vcpuDelayNs: this.#delayNs }),
    };
  }

  /** Over all disks and cards, those without a name as well. */
  sums() {
    const sum = {
      ...{ readBytes: 0, writeBytes: 0, receiveBytes: 0, transmitBytes: 0 },
      ...{ blockReads: 0, blockWrites: 0, blockFlushes: 0, blockReadNs: 0, blockWriteNs: 0, blockFlushNs: 0 },
      ...{ netReceivePackets: 0, netTransmitPackets: 0, netErrors: 0 },
    };
    for (const d of this.#disks) if (d !== undefined) addDisk(sum, d);
    for (const n of this.#nics) if (n !== undefined) addNic(sum, n);
    return sum;
  }

  #takeDisk(i: number, field: keyof Disk, value: number | string): void {
    const disk = (this.#disks[i] ??= newDisk());
    if (field === 'target') disk.target = String(value);
    else disk[field] += count(value);
  }

  #takeNic(i: number, field: keyof Nic, value: number | string): void {
    const nic = (this.#nics[i] ??= newNic());
    if (field === 'name') nic.name = String(value);
    else nic[field] += count(value);
  }
}

type Sums = ReturnType<Devices['sums']>;

function addDisk(sum: Sums, d: Disk): void {
  sum.readBytes += d.readBytes;
  sum.writeBytes += d.writeBytes;
  sum.blockReads += d.reads;
  sum.blockWrites += d.writes;
  sum.blockFlushes += d.flushes;
  sum.blockReadNs += d.readNs;
  sum.blockWriteNs += d.writeNs;
  sum.blockFlushNs += d.flushNs;
}

function addNic(sum: Sums, n: Nic): void {
  sum.receiveBytes += n.receiveBytes;
  sum.transmitBytes += n.transmitBytes;
  sum.netReceivePackets += n.receivePackets;
  sum.netTransmitPackets += n.transmitPackets;
  sum.netErrors += n.errors + n.drops;
}
