/** Programs in guests, in the words of the guest agent's own protocol: what is sent, and what comes back. Pure. */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { GuestProcess, GuestProgram } from '../guest-agents.ts';

export const execCommand = (p: GuestProgram): string =>
  JSON.stringify({
    execute: 'guest-exec',
    arguments: {
      path: p.program,
      arg: p.arguments,
      ...(p.environment.length > 0 ? { env: p.environment } : {}),
      ...(p.input.length > 0 ? { 'input-data': Buffer.from(p.input).toString('base64') } : {}),
      'capture-output': true,
    },
  });

export const statusCommand = (pid: number): string =>
  JSON.stringify({ execute: 'guest-exec-status', arguments: { pid } });

/** @throws INTERNAL for an answer that makes no sense: a guest may send anything. */
export function readPid(answer: string | undefined): number {
  const { pid } = returned(answer);
  if (typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 0) return pid;
  throw nonsense();
}

export function readProcess(answer: string | undefined): GuestProcess {
  const said = returned(answer);
  if (said['exited'] !== true) return { ended: false };
  const signal = numberOf(said['signal'], 0);
  return {
    ended: true,
    exitCode: numberOf(said['exitcode'], signal > 0 ? -1 : 0),
    signal,
    output: bytesOf(said['out-data']),
    errorOutput: bytesOf(said['err-data']),
    truncated: said['out-truncated'] === true || said['err-truncated'] === true,
  };
}

function returned(answer: string | undefined): Readonly<Record<string, unknown>> {
  let said: unknown;
  try {
    said = JSON.parse(answer ?? '');
  } catch {
    throw nonsense();
  }
  const inner = isRecord(said) ? said['return'] : undefined;
  if (isRecord(inner)) return inner;
  throw nonsense();
}

const isRecord = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null && !Array.isArray(v);
const numberOf = (v: unknown, otherwise: number): number =>
  typeof v === 'number' && Number.isInteger(v) && Math.abs(v) < 2 ** 31 ? v : otherwise;
const bytesOf = (v: unknown): Uint8Array => (typeof v === 'string' ? Buffer.from(v, 'base64') : Buffer.alloc(0));
const nonsense = (): ClusterError => new ClusterError('INTERNAL', 'its answer makes no sense', { libvirtCode: '112' });
