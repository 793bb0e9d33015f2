/**
 * Definitions on the wire and inside. Field for field they are the same, so the walk is generic: on the wire 64-bit numbers
 * are bigint, and what is absent is undefined or an empty list. Checks nothing; check.ts does.
 */
import type { DeepPartial, VmDiskOptions, VmHardware, VmNicOptions } from '@berth/proto/v1/hardware.ts';
import { invalidArgument } from '../errors/cluster-error.ts';
import type { DiskOptions, Hardware, NicOptions } from './schema.ts';

/** Fields of 64 bits are called so, and no others: wire.test.ts holds the protos to it. */
const WIDE = /(Bytes|PerSecond)$/;

export const hardwareToWire = (h: Hardware): DeepPartial<VmHardware> => widened(h) as DeepPartial<VmHardware>;
export const diskOptionsToWire = (o: DiskOptions): DeepPartial<VmDiskOptions> =>
  widened(o) as DeepPartial<VmDiskOptions>;
export const nicOptionsToWire = (o: NicOptions): DeepPartial<VmNicOptions> => widened(o) as DeepPartial<VmNicOptions>;

/**
 * What came over the wire, to be checked by checkHardware, checkDiskOptions or checkNicOptions; undefined when nothing is
 * said in it. @throws INVALID_ARGUMENT when a number is larger than any that can be handled
 */
export const fromWire = (message: VmHardware | VmDiskOptions | VmNicOptions | undefined): unknown =>
  narrowed(message, 'the definition');

/** The same without what only answers carry; undefined when nothing is said. */
export function hardwareFromWire(message: VmHardware | undefined): unknown {
  if (message === undefined) return undefined;
  const graphics = message.graphics.map((g) => ({ ...g, passwordSet: undefined }));
  const said = fromWire({ ...message, graphics }) as object;
  return Object.keys(said).length === 0 ? undefined : said;
}

/** Without passwords, for whoever may only look: that there is one is told. */
export function withoutSecrets(h: DeepPartial<VmHardware>): DeepPartial<VmHardware> {
  if (h.graphics === undefined) return h;
  const graphics = h.graphics.map(({ password, ...g }) => ({
    ...g,
    ...(password !== undefined && { passwordSet: true }),
  }));
  return { ...h, graphics };
}

function widened(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) return value.map((v) => widened(v));
  if (typeof value === 'number') return WIDE.test(key) ? BigInt(value) : value;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, widened(v, k)]));
}

function narrowed(value: unknown, key: string): unknown {
  if (typeof value === 'bigint') {
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw invalidArgument(`${key} of ${value} is too large`);
    return Number(value);
  }
  if (Array.isArray(value)) return value.length === 0 ? undefined : value.map((v) => narrowed(v, key));
  if (typeof value !== 'object' || value === null) return value;
  const said = Object.entries(value).flatMap(([k, v]): [string, unknown][] => {
    const inner = narrowed(v, k);
    return inner === undefined ? [] : [[k, inner]];
  });
  return Object.fromEntries(said);
}
