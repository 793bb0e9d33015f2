/**
 * Branded ids with a prefix, sortable by the time they were made (50 bits of milliseconds, a counter, 45 random bits, in
 * lower-case Crockford base32). Safe in file names, unit names and URLs.
 */
import { newBytes } from '../runtime/random.ts';

declare const kind: unique symbol;
export type Id<K extends IdKind> = string & { readonly [kind]: K };
export type IdKind =
  | 'installation'
  | 'cluster'
  | 'host'
  | 'vm'
  | 'image'
  | 'volume'
  | 'network'
  | 'pool'
  | 'job'
  | 'event'
  | 'token'
  | 'run'
  | 'login'
  | 'user';
export type HostId = Id<'host'>;
export type VmId = Id<'vm'>;
export type ImageId = Id<'image'>;
export type VolumeId = Id<'volume'>;
export type NetworkId = Id<'network'>;
export type PoolId = Id<'pool'>;
export type JobId = Id<'job'>;
export type TokenId = Id<'token'>;
export type UserId = Id<'user'>;

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const BODY = /^[0-9a-hjkmnp-tv-z]{21}$/;
let lastMs = 0;
let counter = 0;

/** A new id. Ids made by one process sort in the order they were made, also within one millisecond. */
export function newId<K extends IdKind>(prefix: K, nowMs: number): Id<K> {
  counter = nowMs > lastMs ? 0 : counter + 1;
  lastMs = Math.max(lastMs, nowMs);
  if (counter === 1024) [lastMs, counter] = [lastMs + 1, 0]; // what the counter can't tell apart, the time does
  const random = [...newBytes(9)].map((b) => ALPHABET[b & 31]).join('');
  return `${prefix}-${base32(lastMs, 10)}${base32(counter, 2)}${random}` as Id<K>;
}

function base32(n: number, width: number): string {
  let out = '';
  for (let rest = n; out.length < width; rest = Math.floor(rest / 32)) out = ALPHABET[rest % 32] + out;
  return out;
}

/** When an id was made; ids sort by it. */
export const timeOfId = (id: Id<IdKind>): number =>
  [...id.slice(id.indexOf('-') + 1).slice(0, 10)].reduce((ms, c) => ms * 32 + ALPHABET.indexOf(c), 0);

export const isId = <K extends IdKind>(prefix: K, s: string): s is Id<K> =>
  s.startsWith(`${prefix}-`) && BODY.test(s.slice(prefix.length + 1));

export function parseId<K extends IdKind>(prefix: K, s: string): Id<K> {
  if (!isId(prefix, s)) throw new TypeError(`not a ${prefix} id: ${JSON.stringify(s.slice(0, 80))}`);
  return s;
}
