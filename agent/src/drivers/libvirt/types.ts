/** The structures that libvirt's remote protocol shares between procedures, as codecs. Shapes only, no behaviour. */
import { array, double, hyper, int, opaque, optional, string, struct, uhyper, uint, XdrError } from './xdr.ts';
import type { Codec, TypeOf } from './xdr.ts';

const rawUuid = opaque(16);

/** Raw bytes on the wire, the usual text with dashes for us. */
export const uuid: Codec<string> = {
  minBytes: 16,
  write(w, value) {
    const hex = value.replaceAll('-', '');
    if (!/^[0-9a-f]{32}$/i.test(hex)) throw new XdrError(`"${value}" is not a UUID`);
    rawUuid.write(w, Buffer.from(hex, 'hex'));
  },
  read(r) {
    const hex = rawUuid.read(r).toString('hex');
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  },
};

/** `id` is −1 while the domain is not running. libvirt looks domains up by uuid; name and id only serve its messages. */
export const domain = struct({ name: string, uuid, id: int });
export type DomainRef = TypeOf<typeof domain>;

export const snapshot = struct({ name: string, dom: domain });

export const network = struct({ name: string, uuid });

/** What a failed call carries. Fields that nobody reads must still be decoded. */
export const remoteError = struct({
  code: int,
  domain: int,
  message: optional(string),
  level: int,
  dom: optional(domain),
  str1: optional(string),
  str2: optional(string),
  str3: optional(string),
  int1: int,
  int2: int,
  net: optional(network),
});
export type RemoteError = TypeOf<typeof remoteError>;

export type TypedValue =
  | { readonly type: 'int' | 'uint' | 'double'; readonly value: number }
  | { readonly type: 'llong' | 'ullong'; readonly value: bigint }
  | { readonly type: 'boolean'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string };

const boolean: Codec<boolean> = {
  minBytes: 4,
  write: (w, value) => int.write(w, value ? 1 : 0),
  read: (r) => int.read(r) !== 0,
};

/** Wire number 1 is the first. */
const VARIANTS = [
  ['int', int],
  ['uint', uint],
  ['llong', hyper],
  ['ullong', uhyper],
  ['double', double],
  ['boolean', boolean],
  ['string', string],
] as const satisfies readonly (readonly [TypedValue['type'], unknown])[];

const typedValue: Codec<TypedValue> = {
  minBytes: 8,
  write(w, v) {
    const index = VARIANTS.findIndex(([type]) => type === v.type);
    const codec = VARIANTS[index]?.[1] as Codec<unknown> | undefined;
    if (codec === undefined) throw new XdrError(`typed parameter of type ${v.type}`);
    int.write(w, index + 1);
    codec.write(w, v.value);
  },
  read(r) {
    const number = int.read(r);
    const variant = VARIANTS[number - 1];
    if (variant === undefined) throw new XdrError(`typed parameter of type ${number}`);
    return { type: variant[0], value: variant[1].read(r) } as TypedValue;
  },
};

export const typedParam = struct({ field: string, value: typedValue });
export type TypedParam = TypeOf<typeof typedParam>;

const ipAddress = struct({ type: int, address: string, prefix: uint });
export const domainInterface = struct({ name: string, mac: optional(string), addresses: array(ipAddress, 2_048) });

export const statsRecord = struct({ dom: domain, params: array(typedParam, 262_144) });
export type StatsRecord = TypeOf<typeof statsRecord>;
