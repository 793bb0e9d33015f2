/** Figures of `top` and `stats` as people read them. Pure. */
import { formatBytes, formatFileBytes } from '@berth/shared/units/bytes.ts';

/** `1.2 MB/s`; nothing for nothing, which tables show as a dash. */
export const rate = (bytesPerSecond: number): string =>
  bytesPerSecond < 0.5 ? '0' : `${formatFileBytes(bytesPerSecond)}/s`;

/** `12`, `0.4`. */
export const perSecond = (n: number): string => (n < 0.05 ? '0' : n < 10 ? n.toFixed(1) : n.toFixed(0));

/** `2.4 ms`. */
export const latency = (ms: number): string => (ms <= 0 ? '' : `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`);

export const size = (bytes: number): string => (bytes <= 0 ? '' : formatBytes(bytes));

const BARS = '▁▂▃▄▅▆▇█';

/** One letter for each value; undefined, where there is none, is a space. @param top what fills a letter. */
export const sparkline = (values: readonly (number | undefined)[], top: number): string =>
  values
    .map((v) => (v === undefined ? ' ' : (BARS[Math.min(7, Math.floor((v / (top || 1)) * 8))] ?? '█')))
    .join('')
    .trimStart();
