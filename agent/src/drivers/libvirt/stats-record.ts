/** One domain's typed statistics parameters → DomainStats. Pure. */
import type { DomainCounters, DomainStats } from '../hypervisor.ts';
import { Devices } from './stats-devices.ts';
import type { StatsRecord, TypedValue } from './types.ts';

/** Only reported when libvirt could ask QEMU, so it tells a full answer from one where QEMU was skipped. */
const FROM_QEMU = 'balloon.rss';

export const isComplete = (record: StatsRecord): boolean => record.params.some((p) => p.field === FROM_QEMU);

const toBigint = (v: TypedValue): bigint =>
  v.type === 'llong' || v.type === 'ullong' ? v.value : BigInt(Math.trunc(Number(v.value)) || 0);

/** What is read of that which is no device's; libvirt tells of more than of these. */
const READ: ReadonlySet<string> = new Set([
  ...['cpu.time', 'cpu.user', 'cpu.system', FROM_QEMU],
  ...['balloon.current', 'balloon.available', 'balloon.usable', 'balloon.unused', 'balloon.last-update'],
]);

/** A guest tells of its memory every ten seconds (`<stats period>` of the balloon); what is older than this says nothing. */
const STALE_MS = 60_000;

/** @param came when the answer came: on the monotonic clock, and on the wall. */
export function readStats(record: StatsRecord, came: { readonly atMs: number; readonly nowMs: number }): DomainStats {
  const single: Record<string, TypedValue> = {};
  const devices = new Devices();
  for (const { field, value } of record.params)
    if (!devices.take(field, value) && READ.has(field)) single[field] = value;
  const { readBytes, writeBytes, receiveBytes, transmitBytes, ...rest } = devices.sums();
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
