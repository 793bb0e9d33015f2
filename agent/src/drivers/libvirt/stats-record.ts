/** One domain's typed statistics parameters → DomainStats. Pure. */
import type { DomainCounters, DomainStats } from '../hypervisor.ts';
import { Devices } from './stats-devices.ts';
import type { StatsRecord, TypedValue } from './types.ts';

/** Only reported when libvirt could ask QEMU, so it tells a full answer from one where QEMU was skipped. */
const FROM_QEMU = 'balloon.rss';

export const isComplete = (record: StatsRecord): boolean => record.params.some((p) => p.field === FROM_QEMU);

const toBigint = (v: TypedValue): bigint =>
  v.type === 'llong' || v.type === 'ullong' ? v.value : BigInt(Math.trunc(Number(v.value)) || 0);

/** Fields are numbered per device: `net.0.rx.bytes`, `block.1.rd.bytes`. What is added up over the devices, and where to. */
const SUMMED: Readonly<Record<string, keyof Sums>> = {
  'block.rd.bytes': 'readBytes',
  'block.wr.bytes': 'writeBytes',
  'block.rd.reqs': 'blockReads',
  'block.wr.reqs': 'blockWrites',
  'block.fl.reqs': 'blockFlushes',
  'block.rd.times': 'blockReadNs',
  'block.wr.times': 'blockWriteNs',
  'block.fl.times': 'blockFlushNs',
  'net.rx.bytes': 'receiveBytes',
  'net.tx.bytes': 'transmitBytes',
  'net.rx.pkts': 'netReceivePackets',
  'net.tx.pkts': 'netTransmitPackets',
  'net.rx.errs': 'netErrors',
  'net.tx.errs': 'netErrors',
  'net.rx.drop': 'netErrors',
  'net.tx.drop': 'netErrors',
};

const sums = () => ({
  ...{ readBytes: 0, writeBytes: 0, receiveBytes: 0, transmitBytes: 0 },
  ...{ blockReads: 0, blockWrites: 0, blockFlushes: 0, blockReadNs: 0, blockWriteNs: 0, blockFlushNs: 0 },
  ...{ netReceivePackets: 0, netTransmitPackets: 0, netErrors: 0 },
});
type Sums = ReturnType<typeof sums>;

/** The same few names come with every sample of every domain: each is taken apart once. */
const known = new Map<string, keyof Sums | undefined>();
const MOST_KNOWN = 8_192;

function slotOf(field: string): keyof Sums | undefined {
  if (known.has(field)) return known.get(field);
  if (known.size >= MOST_KNOWN) known.clear();
  const plain = field.replace(/^(net|block)\.\d+\./, '$1.');
  const slot = plain === field || !Object.hasOwn(SUMMED, plain) ? undefined : SUMMED[plain];
  known.set(field, slot);
  return slot;
}

/** A guest tells of its memory every ten seconds (`<stats period>` of the balloon); what is older than this says nothing. */
const STALE_MS = 60_000;

/** @param came when the answer came: on the monotonic clock, and on the wall. */
export function readStats(record: StatsRecord, came: { readonly atMs: number; readonly nowMs: number }): DomainStats {
  const sum = sums();
  const single: Record<string, TypedValue> = {};
  const devices = new Devices();
  for (const { field, value } of record.params) {
    const slot = slotOf(field);
    if (slot !== undefined) sum[slot] += count(value);
    if (!devices.take(field, value) && slot === undefined) single[field] = value;
  }
  const { readBytes, writeBytes, receiveBytes, transmitBytes, ...rest } = sum;
  const cpuTime = single['cpu.time'];
  const rss = single[FROM_QEMU];
  return {
    uuid: record.dom.uuid,
    cpuTimeNs: cpuTime === undefined ? 0n : toBigint(cpuTime),
    memoryUsedBytes: rss === undefined ? undefined : kib(rss),
    blockReadBytes: BigInt(readBytes),
    blockWriteBytes: BigInt(writeBytes),
    netReceiveBytes: BigInt(receiveBytes),
    netTransmitBytes: BigInt(transmitBytes),
    more: {
      ...{ atMs: came.atMs, ...rest, ...memoryOf(single, came.nowMs) },
      ...{ cpuUserNs: count(single['cpu.user']), cpuSystemNs: count(single['cpu.system']) },
      ...devices.found(),
    },
  };
}

/** What is below zero or no number says nothing. */
function count(v: TypedValue | undefined): number {
  const n = Number(v?.value ?? 0);
  return n > 0 && Number.isFinite(n) ? Math.trunc(n) : 0;
}
const kib = (v: TypedValue | undefined): number => count(v) * 1024;

/** A guest without a driver for its balloon tells nothing; of one that has ended its driver QEMU repeats the last it said. */
function memoryOf(
  single: Readonly<Record<string, TypedValue>>,
  nowMs: number,
): Pick<DomainCounters, 'balloonBytes' | 'guestTotalBytes' | 'guestUsableBytes'> {
  const usable = single['balloon.usable'] ?? single['balloon.unused'];
  const fresh = nowMs - count(single['balloon.last-update']) * 1000 <= STALE_MS;
  const told = fresh && usable !== undefined && single['balloon.available'] !== undefined;
  return {
    balloonBytes: kib(single['balloon.current']),
    guestTotalBytes: told ? kib(single['balloon.available']) : 0,
    guestUsableBytes: told ? kib(usable) : 0,
  };
}
