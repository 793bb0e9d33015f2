/**
 * Addresses of a name, asked for as every program of the machine does, but by a process of its own: Node's look-up runs in a thread that
 * cannot be stopped, and Node waits for it before it ends, ten seconds and more where a name server is silent.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { printed } from './programs.ts';

/** Each once, in the order of preference. None: it has none, or the signal came first. */
export async function addressesOf(name: string, signal: AbortSignal): Promise<readonly string[]> {
  try {
    const lines = (await printed('getent', ['ahosts', '--', name], signal)) ?? '';
    return [...new Set(lines.split('\n').map((line) => line.split(/\s/)[0] ?? ''))].filter((a) => isIP(a) !== 0);
  } catch (e) {
    if (!isClusterError(e, 'UNSUPPORTED')) throw e;
    // systems without glibc
    return (await lookup(name, { all: true })).map((a) => a.address);
  }
}
