/** How much one host may make the controller keep or do. A lying or flooding agent hurts only its own record. */
import { safeText } from '@berth/shared/units/text.ts';

export const LIMITS = {
  domains: 4_096,
  volumes: 16_384,
  images: 4_096,
  bridges: 512,
  operations: 2_048,
  checks: 64,
  /** Ports and addresses of a bridge, capabilities of a host. */
  list: 512,
  textChars: 512,
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

/** Text from a host: cut to what we keep, and without what drives terminals. */
export const clip = (s: string, chars: number = LIMITS.textChars): string => safeText(s.slice(0, chars));
