/** Serial logs of simulated guests: text in memory, never rotated. What a guest says goes to its log and to its open console. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { SimHost } from '@berth/shared/sim/sim-host.ts';
import type { SerialFrom, SerialPiece } from '../disks.ts';

export function readSimSerialLog(host: SimHost, path: string, from: SerialFrom, maxBytes: number): SerialPiece {
  const text = host.serialLogs.get(path);
  if (text === undefined) return { data: new Uint8Array(), position: '', gap: false };
  const all = Buffer.from(text);
  const offset = 'position' in from ? offsetOf(from.position) : Math.max(0, all.length - from.lastBytes);
  const data = all.subarray(offset, offset + maxBytes);
  return { data, position: `sim-0-${(offset + data.length).toString(36)}`, gap: false };
}

function offsetOf(position: string): number {
  if (position === '') return 0;
  const digits = /^sim-0-([0-9a-z]{1,10})$/.exec(position)?.[1];
  if (digits === undefined) throw invalidArgument(`"${position.slice(0, 80)}" is no position in a serial log`);
  return Number.parseInt(digits, 36);
}

/** Appends to a log that is there, or makes it. */
export const appendSimSerialLog = (host: SimHost, path: string, text: string): void =>
  void host.serialLogs.set(path, (host.serialLogs.get(path) ?? '') + text);
