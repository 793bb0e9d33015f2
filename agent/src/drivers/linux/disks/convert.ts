/**
 * Turns a stranger's disk file into a qcow2 of our own making: how much room it will take, and the conversion itself, both by
 * a confined qemu-img with explicit formats. Never runs before the header parser has agreed.
 */
import * as z from 'zod';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { InspectedImage } from '@berth/shared/disk/inspect.ts';
import type { Exec } from '../exec.ts';
import { diskFull, spaceOf } from './space.ts';

export interface Conversion {
  readonly source: string;
  readonly format: InspectedImage['format'];
  readonly target: string;
  readonly virtualSizeBytes: number;
  /** Of the target; absent: qcow2. */
  readonly to?: 'qcow2' | 'raw';
  /** What it is, for words about room; absent: the image. */
  readonly subject?: string;
  /** Image of this host that the source is an overlay of. */
  readonly base?: string;
  /** Folder on whose file system the target lies, for words about room. */
  readonly poolDir: string;
}

/** Room for tables and rounding on top of the data. */
const SLACK_BYTES = 64 * 2 ** 20;
/** Below this it is not decompressing but stuck. */
const SLOWEST_BYTES_PER_S = 10 * 2 ** 20;
const MEASURE_MS = 10 * 60_000;

const Measured = z.object({ required: z.number() });

/** @param onFraction 0 to 1. */
export async function convert(
  exec: Exec,
  c: Conversion,
  signal: AbortSignal,
  onFraction: (done: number) => void,
): Promise<void> {
  const needed = await measure(exec, c, signal);
  const { diskFreeBytes } = await spaceOf(c.poolDir);
  if (needed > diskFreeBytes) throw diskFull(c.poolDir, needed, diskFreeBytes, c.subject ?? 'the image');
  // the target is synced when it is installed, not by qemu-img; internal snapshots stay behind
  const args = ['convert', '-p', '-m', '8', '-O', c.to ?? 'qcow2', ...sourceOf(c), c.target];
  let done = 0;
  try {
    await exec.runConfined('qemu-img', args, {
      signal,
      timeoutMs: 0,
      what: 'converting the image',
      onOutput: (text) => {
        done = Math.max(done, lastPercentage(text) / 100);
        onFraction(done);
      },
      limits: {
        fileBytes: Math.ceil(c.virtualSizeBytes * (65 / 64)) + SLACK_BYTES,
        cpuSeconds: 3_600 + Math.ceil(needed / SLOWEST_BYTES_PER_S),
      },
    });
  } catch (e) {
    throw await explain(e, c, needed);
  }
}

/** What is below an overlay is said here too: what its own header says of that is not followed. */
function sourceOf({ source, format, base }: Conversion): string[] {
  if (base === undefined) return ['-f', format, source];
  const of = (filename: string, backing: object | null) => ({
    ...{ driver: 'qcow2', file: { driver: 'file', filename }, backing },
  });
  return [`json:${JSON.stringify(of(source, of(base, null)))}`];
}

/** Bytes that the target will take: as qcow2, for a raw one has holes where that has no clusters. Reads allocation, not data. */
async function measure(exec: Exec, c: Conversion, signal: AbortSignal): Promise<number> {
  const args = ['measure', '--output=json', '-O', 'qcow2', ...sourceOf(c)];
  const options = { signal, timeoutMs: MEASURE_MS, what: 'measuring the image' };
  try {
    const { stdout } = await exec.runConfined('qemu-img', args, options);
    return Measured.parse(JSON.parse(stdout)).required;
  } catch (e) {
    throw await explain(e, c, 0);
  }
}

async function explain(e: unknown, c: Conversion, needed: number): Promise<unknown> {
  if (!isClusterError(e)) return e;
  const { diskFreeBytes } = await spaceOf(c.poolDir);
  if (e.reason === 'DISK_FULL')
    return new ClusterError(
      'DISK_FULL',
      diskFull(c.poolDir, needed, diskFreeBytes, c.subject ?? 'the image').message,
      e.meta,
      {
        cause: e,
      },
    );
  if (e.reason === 'INTERNAL' && /Permission denied/.test(e.message))
    return new ClusterError(
      'UNSUPPORTED',
      `${e.message}; the unprivileged user must be able to reach ${c.poolDir}: give its parent folders chmod o+x`,
      e.meta,
    );
  const ours =
    /^[^(]*\((unshare|choom|setpriv|prlimit): |Input\/output error|Cannot allocate memory|File too large/.test(
      e.message,
    );
  if (e.reason === 'INTERNAL' && e.meta['exitCode'] === '1' && !ours)
    return new ClusterError(
      'UNSAFE_IMAGE',
      `${e.message}: the image is damaged. Copy it again, or check it with qemu-img check.`,
      e.meta,
    );
  return e;
}

/** "    (12.34/100%)\r" */
export function lastPercentage(text: string): number {
  const all = [...text.matchAll(/\((\d+\.\d+)\/100%\)/g)];
  return Number(all.at(-1)?.[1] ?? 0);
}
