/**
 * libvirt's answer with statistics → DomainStats, in one pass over its bytes: of one host it has thousands of values, several times a
 * minute, and an object for each would be most of what the agent does. Pure. Values are numbers, so nanoseconds of more than 104 days of CPU
 * time (2^53) are a few off.
 */
import type { DomainCounters, DomainStats } from '../hypervisor.ts';
import { Devices } from './stats-devices.ts';
import { domain } from './types.ts';
import { MAX_STRING_BYTES, uint, XdrError, XdrReader } from './xdr.ts';

export interface DomainAnswer {
  readonly uuid: string;
  /** Undefined: libvirt could not ask QEMU. */
  readonly stats: DomainStats | undefined;
}

/** On the monotonic clock, and on the wall. */
export interface Came {
  readonly atMs: number;
  readonly nowMs: number;
}

/** Only reported when libvirt could ask QEMU, so it tells a full answer from one where QEMU was skipped. */
const FROM_QEMU = 'balloon.rss';

/** What is read of that which is no device's; libvirt tells of more than of these. */
const READ = [
  ...['cpu.time', 'cpu.user', 'cpu.system', FROM_QEMU],
  ...['balloon.current', 'balloon.available', 'balloon.usable', 'balloon.unused', 'balloon.last-update'],
] as const;
const IS_READ: ReadonlySet<string> = new Set(READ);
type Single = { [K in string]?: number };

/** libvirt's own limits, and the fewest bytes that one takes. */
const DOMAINS = { most: 16_384, bytes: 28 };
const PARAMS = { most: 262_144, bytes: 12 };

/**
 * @param bytes the whole reply
 * @throws XdrError when it makes no sense
 */
export function readAnswers(bytes: Buffer, came: Came): readonly DomainAnswer[] {
  const r = new Reader(bytes);
  const answers = Array.from({ length: r.count(DOMAINS) }, () => readAnswer(r, came));
  if (r.remaining !== 0) throw new XdrError(`${r.remaining} bytes too many`);
  return answers;
}

class Reader extends XdrReader {
  /** Node's readers of numbers check what `take` has checked already. */
  readonly #view: DataView;

  constructor(bytes: Buffer) {
    super(bytes);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  count({ most, bytes }: typeof DOMAINS): number {
    const count = uint.read(this);
    if (count > most || count * bytes > this.remaining) throw new XdrError(`${count} elements announced`);
    return count;
  }

  uint(): number {
    return this.#view.getUint32(this.take(4));
  }

  string(): string {
    return this.text(this.#length());
  }

  /** A typed value as a number; a text only where it is wanted. */
  value(wantsText: boolean): number | string {
    const type = this.uint();
    if (type === 1 || type === 6) return this.#view.getInt32(this.take(4));
    if (type === 2) return this.uint();
    if (type === 3) return this.#view.getInt32(this.take(4)) * 2 ** 32 + this.uint();
    if (type === 4) return this.uint() * 2 ** 32 + this.uint();
    if (type === 5) return this.#view.getFloat64(this.take(8));
    if (type !== 7) throw new XdrError(`typed parameter of type ${type}`);
    if (wantsText) return this.string();
    const length = this.#length();
    this.take(length + (-length & 3));
    return '';
  }

  #length(): number {
    const length = this.uint();
    if (length > MAX_STRING_BYTES) throw new XdrError(`text of ${length} bytes; at most ${MAX_STRING_BYTES}`);
    return length;
  }
}

function readAnswer(r: Reader, came: Came): DomainAnswer {
  const { uuid } = domain.read(r);
  const single: Single = {};
  const devices = new Devices();
  for (let left = r.count(PARAMS); left > 0; left--) {
    const field = r.string();
    const value = r.value(field.endsWith('.name'));
    if (!devices.take(field, value) && IS_READ.has(field)) single[field] = Number(value);
  }
  return { uuid, stats: single[FROM_QEMU] === undefined ? undefined : statsOf(uuid, single, devices, came) };
}

function statsOf(uuid: string, single: Single, devices: Devices, came: Came): DomainStats {
  const { readBytes, writeBytes, receiveBytes, transmitBytes, ...rest } = devices.sums();
  return {
    uuid,
    cpuTimeNs: BigInt(count(single['cpu.time'])),
    memoryUsedBytes: kib(single[FROM_QEMU]),
    blockReadBytes: BigInt(count(readBytes)),
    blockWriteBytes: BigInt(count(writeBytes)),
    netReceiveBytes: BigInt(count(receiveBytes)),
    netTransmitBytes: BigInt(count(transmitBytes)),
    more: {
      ...{ atMs: came.atMs, ...rest, ...memoryOf(single, came.nowMs) },
      ...{ cpuUserNs: count(single['cpu.user']), cpuSystemNs: count(single['cpu.system']) },
      ...devices.found(),
    },
  };
}

/** What is below zero or no number says nothing. */
function count(n = 0): number {
  return n > 0 && Number.isFinite(n) ? Math.trunc(n) : 0;
}
const kib = (n: number | undefined): number => count(n) * 1024;

/** A guest tells of its memory every ten seconds (`<stats period>` of the balloon); what is older than this says nothing. */
const STALE_MS = 60_000;

/** A guest without a driver for its balloon tells nothing; of one that has ended its driver QEMU repeats the last it said. */
function memoryOf(
  single: Readonly<Single>,
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
