/** Connects to another host's export port, proves who is who, shows the ticket and waits for the first byte. */
import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { peerName } from '@berth/shared/trust/names.ts';
import { cutWhenRevoked, secureOptions, type PeerIdentity } from './identity.ts';
import type { Inflow } from './inflow.ts';
import { ticketLine, type GoOnFrom, type PeerStream } from './ticket-line.ts';

export interface PeerSource {
  readonly peerHostId: string;
  /** host:port of its export port. */
  readonly address: string;
  readonly ticket: string;
}

export interface DialOptions {
  readonly identity: PeerIdentity;
  readonly clock: Clock;
  /** For all of it: connection, handshake, first byte. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Default: image. */
  readonly stream?: PeerStream;
  /** Of a volume. Default: its beginning. */
  readonly from?: GoOnFrom;
  /** All that comes goes there, and nothing can be read from the socket. */
  readonly inflow?: Inflow;
}

/** A connected stream whose first bytes wait to be read. PEER_UNAVAILABLE with the reason otherwise. */
export async function dialPeer(source: PeerSource, options: DialOptions): Promise<TLSSocket> {
  const { host, port } = splitAddress(source.address);
  const deadline = new AbortController();
  const timer = options.clock.after(options.timeoutMs, () => deadline.abort());
  const signal = AbortSignal.any([options.signal, deadline.signal]);
  const { identity, inflow } = options;
  const secure = secureOptions(identity);
  if (secure === undefined)
    throw new ClusterError(
      'PEER_UNAVAILABLE',
      'this host has no certificate for transfers yet: the controller gives it',
    );
  const socket = connect({
    ...secure,
    host,
    port,
    ...(inflow && { onread: inflow.onread }),
    checkServerIdentity: (_host, { subjectaltname, serialNumber }) =>
      wrongHost(source.peerHostId, subjectaltname) ??
      (identity.isRevoked(serialNumber) ? new Error('its certificate was revoked') : undefined),
  });
  const stage = { now: 'did not accept a connection' };
  try {
    socket.setNoDelay(true);
    await once(socket, 'secureConnect', { signal });
    cutWhenRevoked(socket, socket.getPeerCertificate().serialNumber, identity);
    stage.now = 'did not serve the image';
    socket.write(ticketLine(source.ticket, options.stream, options.from));
    await firstBytes(socket, inflow, signal);
    return socket;
  } catch (e) {
    socket.on('error', () => undefined).destroy();
    const detail = deadline.signal.aborted ? `no answer within ${options.timeoutMs / 1_000} s` : reasonOf(e);
    throw new ClusterError('PEER_UNAVAILABLE', `${source.peerHostId} at ${source.address} ${stage.now} (${detail})`);
  } finally {
    timer.cancel();
  }
}

const reasonOf = (e: unknown): string => (e instanceof Error ? e.message : String(e));

function wrongHost(hostId: string, subjectAltName: string | undefined): Error | undefined {
  const name = peerName(subjectAltName);
  return name?.kind === 'transfer' && name.id === hostId
    ? undefined
    : new Error('its certificate is not one for transfers from that host');
}

/** Resolves when something can be read, and leaves it there. */
async function firstBytes(socket: TLSSocket, inflow: Inflow | undefined, signal: AbortSignal): Promise<void> {
  const ended = new AbortController();
  const onEnd = (): void => ended.abort(new Error('it closed the connection: the ticket was refused'));
  socket.once('end', onEnd).once('close', onEnd);
  const either = AbortSignal.any([signal, ended.signal]);
  try {
    if (inflow) return await inflow.first(either);
    await once(socket, 'readable', { signal: either });
    if (socket.readableLength === 0) throw new Error('it closed the connection: the ticket was refused');
  } catch (e) {
    throw ended.signal.aborted ? ended.signal.reason : e;
  } finally {
    socket.off('end', onEnd).off('close', onEnd);
  }
}

/** `host:port` or `[v6]:port`. */
export function splitAddress(address: string): { host: string; port: number } {
  const m = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(address);
  const host = m?.[1] ?? m?.[2];
  if (!m || host === undefined || Number(m[3]) > 65_535)
    throw new ClusterError('INVALID_ARGUMENT', `${JSON.stringify(address)} is not an address: HOST:PORT is expected`);
  return { host, port: Number(m[3]) };
}
