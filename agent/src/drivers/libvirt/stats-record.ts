/** One domain's typed statistics parameters → DomainStats. Pure. */
import type { DomainStats } from '../hypervisor.ts';
import type { StatsRecord, TypedValue } from './types.ts';

/** Only reported when libvirt could ask QEMU, so it tells a full answer from one where QEMU was skipped. */
const FROM_QEMU = 'balloon.rss';

export const isComplete = (record: StatsRecord): boolean => record.params.some((p) => p.field === FROM_QEMU);

const toBigint = (v: TypedValue): bigint =>
  v.type === 'llong' || v.type === 'ullong' ? v.value : BigInt(Math.trunc(Number(v.value)) || 0);

/** The fields are numbered per device: `net.0.rx.bytes`, `block.1.rd.bytes`. */
const FIELD = /^(net|block)\.\d+\.(rx|tx|rd|wr)\.bytes$/;

export function readStats(record: StatsRecord): DomainStats {
  const sums: Record<string, bigint> = { rx: 0n, tx: 0n, rd: 0n, wr: 0n };
  let cpuTimeNs = 0n;
  let memoryUsedBytes: number | undefined;
  for (const { field, value } of record.params) {
    const direction = FIELD.exec(field)?.[2];
    if (direction !== undefined) sums[direction] = (sums[direction] ?? 0n) + toBigint(value);
    else if (field === 'cpu.time') cpuTimeNs = toBigint(value);
    else if (field === FROM_QEMU) memoryUsedBytes = Number(toBigint(value)) * 1024;
  }
  return {
    uuid: record.dom.uuid,
    cpuTimeNs,
    memoryUsedBytes,
    blockReadBytes: sums['rd'] ?? 0n,
    blockWriteBytes: sums['wr'] ?? 0n,
    netReceiveBytes: sums['rx'] ?? 0n,
    netTransmitBytes: sums['tx'] ?? 0n,
  };
}
