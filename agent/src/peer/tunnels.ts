/**
 * Makes tunnels, one per fetch: a UNIX socket on this host behind which another host's image appears. The path depends
 * on the operation alone, so that a helper process that outlives the agent finds it again. See tunnel.ts.
 */
import { createHash } from 'node:crypto';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { splitAddress, type PeerSource } from './dial.ts';
import type { PeerIdentity } from './identity.ts';
import { TunnelCore } from './tunnel.ts';

export interface TunnelsOptions {
  /** Directory of the sockets; short, a socket's path has at most 107 bytes. */
  readonly dir: string;
  readonly identity: PeerIdentity;
  readonly clock: Clock;
  readonly log: Log;
  /** A peer that owes an answer for so long is cut off; default 10 s. */
  readonly silentMs?: number;
  /** From dialling a peer to the first byte; default 10 s. */
  readonly connectMs?: number;
}

export interface TunnelHooks {
  /** True: there is nobody to read from, and why. False: a source was offered. */
  readonly onNeedsSource: (needed: boolean, why: string) => void;
  /** What a host served was not the image. */
  readonly onBlamed?: (hostId: string, why: string) => void;
  /** Another is read from now, or nobody. */
  readonly onSource?: (hostId: string | undefined) => void;
}

export interface Tunnel {
  readonly socketPath: string;
  /** Another socket, behind which the hashes of its chunks appear. */
  readonly hashesPath: string;
  /**
   * What is read from now on is read from this peer; a connection to another that still answers goes on, unless it is to be
   * replaced. INVALID_ARGUMENT for a malformed address.
   */
  offer(source: PeerSource, replace?: boolean): void;
  /** What comes from the present source is not the image: it is dropped, and another asked for. */
  blame(why: string): void;
  /** Bytes that have come from peers. */
  bytes(): number;
  /** Ends all connections and removes the socket. */
  close(): Promise<void>;
}

export interface Tunnels {
  /** Open already under this operation: the old one is closed first. */
  open(operationId: string, hooks: TunnelHooks): Promise<Tunnel>;
  closeAll(): Promise<void>;
}

const SILENT_MS = 10_000;
const CONNECT_MS = 10_000;

export function createTunnels(options: TunnelsOptions): Tunnels {
  const open = new Map<string, Tunnel>();
  const config = {
    clock: options.clock,
    silentMs: options.silentMs ?? SILENT_MS,
    connectMs: options.connectMs ?? CONNECT_MS,
    identity: options.identity,
  };
  return {
    async open(operationId, hooks) {
      await open.get(operationId)?.close();
      const socketPath = join(options.dir, `${nameOf(operationId)}.sock`);
      const core = new TunnelCore({ ...config, hooks, log: options.log.child({ operationId }) });
      const hashesPath = join(options.dir, `${nameOf(operationId)}.hashes`);
      const server = await listen(options.dir, socketPath, (s) => core.accept(s));
      const hashes = await listen(options.dir, hashesPath, (s) => core.accept(s, 'hashes'));
      const tunnel: Tunnel = {
        ...{ socketPath, hashesPath },
        blame: (why) => core.blame(why),
        offer: (source, replace = false) => {
          splitAddress(source.address);
          core.offer(source, replace);
        },
        bytes: () => core.receivedBytes,
        close: async () => {
          if (open.get(operationId) === tunnel) open.delete(operationId);
          core.close();
          await Promise.all([server, hashes].map((s) => new Promise<void>((resolve) => s.close(() => resolve()))));
        },
      };
      open.set(operationId, tunnel);
      return tunnel;
    },
    closeAll: async () => void (await Promise.all([...open.values()].map((t) => t.close()))),
  };
}

/** Operation ids may hold anything and be long; socket paths may not. */
const nameOf = (operationId: string): string => createHash('sha256').update(operationId).digest('hex').slice(0, 24);

async function listen(dir: string, socketPath: string, accept: (local: Socket) => void): Promise<Server> {
  await mkdir(dir, { recursive: true });
  await chmod(dir, 0o711); // a storage daemon is not root, and must get through
  await rm(socketPath, { force: true }); // what an agent left behind that was killed
  const server = createServer({ pauseOnConnect: true }, accept);
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(socketPath, resolve));
  await chmod(socketPath, 0o600);
  return server;
}
