/** Opens one connection to libvirtd: socket, authentication, keepalive, CONNECT_OPEN. Retrying is the caller's business. */
import { createConnection } from 'node:net';
import type { Socket } from 'node:net';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { Connection } from './connection.ts';
import type { ConnectionOptions } from './connection.ts';
import { PROC } from './procedures.ts';

export interface DialOptions extends ConnectionOptions {
  readonly socketPath: string;
  readonly uri: string;
  readonly deadlineMs?: number;
  /** For a stream whose reader may be slow: it must not be cut for not answering libvirt's pings. And where pings serve nothing. */
  readonly withoutServerPings?: boolean;
}

const AUTH = { none: 0, polkit: 2 } as const;
const FEATURE_KEEPALIVE = 10;

/** Whatever was to be done over the connection was not. */
const BEFORE_SEND = { phase: 'before-send' };

/** Rejects with HYPERVISOR_UNAVAILABLE (nothing was done), or PERMISSION_DENIED when libvirt does not let us in. */
export async function dial(opts: DialOptions): Promise<Connection> {
  const socket = createConnection(opts.socketPath);
  const deadlineMs = opts.deadlineMs ?? 15_000;
  let late = false;
  const timer = opts.clock.after(deadlineMs, () => {
    late = true;
    socket.destroy(new Error('no answer'));
  });
  try {
    await connected(socket);
    const connection = new Connection(socket, opts);
    await handshake(connection, opts);
    return connection;
  } catch (e) {
    socket.destroy();
    if (e instanceof ClusterError && e.reason === 'PERMISSION_DENIED') throw e;
    const words = late ? `does not answer within ${deadlineMs} ms` : explain(e);
    throw new ClusterError('HYPERVISOR_UNAVAILABLE', `libvirt's socket ${opts.socketPath} ${words}`, BEFORE_SEND, {
      cause: e,
    });
  } finally {
    timer.cancel();
  }
}

const connected = (socket: Socket): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve();
    });
  });

async function handshake(connection: Connection, opts: DialOptions): Promise<void> {
  const { types } = await connection.call(PROC.authList, undefined, 'list ways to authenticate');
  if (types.includes(AUTH.polkit)) await connection.call(PROC.authPolkit, undefined, 'authenticate through polkit');
  else if (types.length > 0 && !types.includes(AUTH.none))
    throw new ClusterError(
      'PERMISSION_DENIED',
      `libvirt at ${opts.socketPath} wants SASL, which the agent does not speak; set auth_unix_rw to "none" or "polkit"`,
    );
  if (opts.withoutServerPings !== true)
    await connection.call(PROC.supportsFeature, { feature: FEATURE_KEEPALIVE }, 'switch keepalive on');
  await connection.call(PROC.open, { name: opts.uri, flags: 0 }, `open ${opts.uri}`);
}

const HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist; is libvirt installed and running?',
  ECONNREFUSED: 'refuses connections; is libvirtd running?',
  EACCES: 'may not be opened by this user',
};

function explain(e: unknown): string {
  const words = e instanceof Error && 'code' in e ? HINTS[String(e.code)] : undefined;
  return words ?? `could not be used: ${e instanceof Error ? e.message : String(e)}`;
}
