/** How much one host may make the controller keep or do. A lying or flooding agent hurts only its own record. */
import { safeText } from '@berth/shared/units/text.ts';

export const LIMITS = {
  domains: 4_096,
  volumes: 16_384,
  images: 4_096,
  bridges: 512,
  pools: 256,
  networks: 512,
  operations: 2_048,
  checks: 64,
  pageSizes: 16,
  /** Ports and addresses of a bridge, capabilities of a host. */
  list: 512,
  textChars: 512,
  errorChars: 2_000,
  messageBytes: 1 << 20,
  /** Watch messages: a bucket that fills at this rate. */
  messagesPerSecond: 500,
  messageBurst: 30_000,
  /** Events about what a host reports wrongly, per connection. */
  complaints: 20,
} as const;

/** Silence of three heartbeats. */
export const SILENCE_MS = 6_000;
export const CONNECT_TIMEOUT_MS = 5_000;
/** From the dial to the end of the first snapshot. */
export const SNAPSHOT_TIMEOUT_MS = 60_000;

/** Text from a host: cut to what we keep, on one line, and without what drives terminals. */
export const clip = (s: string, chars: number = LIMITS.textChars): string =>
  safeText(s.slice(0, chars).replace(/[\t-\r\x85\u2028\u2029]+/g, ' '));

/** The error of a call to a host, whose words are the host's: made as harmless as its reports, in place. */
export function tame<E extends { details: string; message: string }>(e: E): E {
  e.details = clip(e.details, LIMITS.errorChars);
  e.message = clip(e.message, LIMITS.errorChars);
  return e;
}
