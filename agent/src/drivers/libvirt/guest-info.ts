/** What libvirt gives back of a guest → GuestSaid. Pure; values are the guest's own, and nothing is judged here. */
import type { GuestSaid } from '../guest-agents.ts';
import type { TypedParam, TypedValue } from './types.ts';

type Fields = ReadonlyMap<string, TypedValue>;

/** Counts are the guest's: no more is looked for than what was sent. */
const MOST = 2_048;

export function readGuestInfo(params: readonly TypedParam[]): GuestSaid {
  const fields: Fields = new Map(params.map((p) => [p.field, p.value]));
  const os = text(fields, 'os.pretty-name') ?? joined(text(fields, 'os.name'), text(fields, 'os.version'));
  const counted = fields.has('if.count');
  return {
    ...some('hostname', text(fields, 'hostname')),
    ...some('os', os),
    ...some('kernel', text(fields, 'os.kernel-release')),
    ...some('timeZone', text(fields, 'timezone.name')),
    ...some('utcOffsetSeconds', fields.has('timezone.offset') ? number(fields, 'timezone.offset') : undefined),
    users: each(fields, 'user', (at) => ({
      name: text(fields, `${at}.name`) ?? '',
      loginAtMs: number(fields, `${at}.login-time`),
    })),
    fileSystems: each(fields, 'fs', (at) => ({
      mountPoint: text(fields, `${at}.mountpoint`) ?? '',
      type: text(fields, `${at}.fstype`) ?? '',
      totalBytes: whole(fields, `${at}.total-bytes`),
      usedBytes: whole(fields, `${at}.used-bytes`),
    })),
    ...(counted ? { interfaces: each(fields, 'if', (at) => interfaceAt(fields, at)) } : {}),
  };
}

const interfaceAt = (fields: Fields, at: string): NonNullable<GuestSaid['interfaces']>[number] => ({
  name: text(fields, `${at}.name`) ?? '',
  mac: text(fields, `${at}.hwaddr`) ?? '',
  addresses: each(fields, `${at}.addr`, (of) => ({
    address: text(fields, `${of}.addr`) ?? '',
    prefix: number(fields, `${of}.prefix`),
  })),
});

/** As DOMAIN_INTERFACE_ADDRESSES gives them: what a libvirt before 7.10 has. */
export const readInterfaces = (
  found: readonly {
    readonly name: string;
    readonly mac: string | undefined;
    readonly addresses: readonly { readonly address: string; readonly prefix: number }[];
  }[],
): NonNullable<GuestSaid['interfaces']> =>
  found.map((i) => ({
    name: i.name,
    mac: i.mac ?? '',
    addresses: i.addresses.map(({ address, prefix }) => ({ address, prefix })),
  }));

function each<T>(fields: Fields, of: string, make: (at: string) => T): T[] {
  const count = Math.min(MOST, Math.max(0, number(fields, `${of}.count`)));
  return Array.from({ length: count }, (_, n) => make(`${of}.${n}`));
}

function text(fields: Fields, name: string): string | undefined {
  const v = fields.get(name);
  return v?.type === 'string' && v.value !== '' ? v.value : undefined;
}

function number(fields: Fields, name: string): number {
  const v = fields.get(name);
  return v === undefined || v.type === 'string' || v.type === 'boolean' ? 0 : Number(v.value);
}

function whole(fields: Fields, name: string): bigint {
  const v = fields.get(name);
  if (v?.type === 'ullong' || v?.type === 'llong') return v.value;
  const n = number(fields, name);
  return Number.isSafeInteger(n) ? BigInt(n) : 0n;
}

const joined = (...parts: readonly (string | undefined)[]): string | undefined =>
  parts.filter((p) => p !== undefined).join(' ') || undefined;

const some = <K extends keyof GuestSaid>(key: K, value: GuestSaid[K] | undefined): Pick<GuestSaid, K> | object =>
  value === undefined ? {} : { [key]: value };
