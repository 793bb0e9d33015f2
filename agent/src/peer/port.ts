/**
 * The port on which other hosts read images from this one: TLS 1.3, a transfer certificate of our CA, then one line with a
 * ticket, then the bytes of the socket that serves the image. Everything else is closed without a word, and logged.
 * Knows nothing of images beyond the digest that a ticket stands for.
 */
import { once } from 'node:events';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { newSecret } from '@berth/shared/runtime/random.ts';
import { readFirstLine } from './first-line.ts';
import { cutWhenRevoked, peerHost, secureOptions, type PeerIdentity } from './identity.ts';
import { idleCutter } from './idle.ts';
import { Rate, Slots } from './limits.ts';
import { Inflow } from './inflow.ts';
import { splice, type Far } from './splice.ts';
import { TicketBook, type TicketUse } from './tickets.ts';
import type { VolumeFile } from '../drivers/volume-work.ts';
import { volumeFrames } from './volume-frames.ts';
import { FROM_BEGINNING, parseTicketLine, TICKET_LINE_MAX_BYTES, type GoOnFrom } from './ticket-line.ts';

export interface PeerLimits {
  readonly connections: number;
  /** Connections that have not yet shown a good ticket, in all and from one address. */
  readonly unproven: number;
  readonly unprovenPerAddress: number;
  /** From the accepted connection to the end of the ticket line. */
  readonly helloMs: number;
  /** A connection that carries nothing for so long is closed. */
  readonly idleMs: number;
  readonly attemptsPerMinute: number;
  readonly ticketTtlMs: number;
  readonly tickets: number;
  readonly ticketsPerPeer: number;
  readonly connectionsPerTicket: number;
}

const DEFAULTS: PeerLimits = {
  connections: 128,
  unproven: 64,
  unprovenPerAddress: 8,
  helloMs: 10_000,
  idleMs: 600_000,
  attemptsPerMinute: 120,
  ticketTtlMs: 300_000,
  tickets: 1024,
  ticketsPerPeer: 64,
  connectionsPerTicket: 4,
};

export interface PeerPortOptions {
  readonly listen: { readonly host: string; readonly port: number };
  readonly identity: PeerIdentity;
  /** UNIX socket that serves the image; NOT_FOUND when it is gone. */
  readonly serve: (digest: string) => Promise<string>;
  /** The hashes of its chunks, packed; NOT_FOUND when it is gone. Absent: none are given out. */
  readonly hashes?: (digest: string) => Promise<Buffer>;
  /** The file of a volume of nobody. Absent: none are given out. */
  readonly volume?: (of: VolumeGrant) => Promise<VolumeFile>;
  readonly clock: Clock;
  readonly log: Log;
  readonly newSecret?: () => string;
  readonly limits?: Partial<PeerLimits>;
}

export interface PeerPort {
  start(): Promise<{ port: number }>;
  /** Makes a ticket with which one host can read one image. Does not look whether the image is here. */
  openExport(grant: { readonly digest: string; readonly peerHostId: string }): {
    ticket: string;
    expiresAtMs: number;
  };
  stop(): Promise<void>;
}

export const createPeerPort = (options: PeerPortOptions): PeerPort => new Port(options);

class Port implements PeerPort {
  private readonly limits: PeerLimits;
  private readonly tickets: TicketBook;
  private readonly unproven: Slots;
  private readonly attempts: Rate;
  private readonly sockets = new Set<Socket>();
  /** Raw socket by the port it came from: a TLS socket does not tell which one it wraps. */
  private readonly proofs = new Map<string, () => void>();
  private readonly server: Server;
  private readonly unfollow: () => void;

  constructor(private readonly options: PeerPortOptions) {
    const { clock } = options;
    this.limits = { ...DEFAULTS, ...options.limits };
    this.tickets = new TicketBook({
      clock,
      newSecret: options.newSecret ?? newSecret,
      ttlMs: this.limits.ticketTtlMs,
      maxTickets: this.limits.tickets,
      maxPerPeer: this.limits.ticketsPerPeer,
      maxUsesAtOnce: this.limits.connectionsPerTicket,
    });
    this.unproven = new Slots(this.limits.unproven, this.limits.unprovenPerAddress);
    this.attempts = new Rate(clock, this.limits.attemptsPerMinute);
    this.server = this.createServer();
    const { identity } = options;
    this.unfollow = identity.subscribe(() => {
      const renewed = secureOptions(identity);
      if (renewed) this.server.setSecureContext(renewed);
    });
  }

  async start(): Promise<{ port: number }> {
    const { host, port } = this.options.listen;
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject).listen(port, host, () => resolve());
    });
    this.server.on('error', (e) => this.options.log.error({ err: e }, 'the export port failed'));
    return { port: (this.server.address() as AddressInfo).port };
  }

  openExport(grant: { readonly digest: string; readonly peerHostId: string }): {
    ticket: string;
    expiresAtMs: number;
  } {
    return this.tickets.open(grant);
  }

  async stop(): Promise<void> {
    this.unfollow();
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const socket of this.sockets) socket.destroy();
    if (this.server.listening) await closed;
  }

  private createServer(): Server {
    const server = createServer({
      ...secureOptions(this.options.identity),
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: this.limits.helloMs,
    });
    server.maxConnections = this.limits.connections;
    server.on('connection', (socket: Socket) => this.admit(socket));
    server.on('tlsClientError', (e, socket) => this.refuse(socket, `no TLS with a certificate of ours (${e.message})`));
    server.on('secureConnection', (socket) => void this.greet(socket));
    return server;
  }

  /** Counts a connection that has proven nothing yet. */
  private admit(socket: Socket): void {
    const from = socket.remoteAddress ?? 'nowhere';
    const release = this.unproven.take(from);
    socket.on('error', () => socket.destroy());
    if (!release) return this.refuse(socket, 'too many connections that have shown no ticket');
    const key = origin(socket);
    this.sockets.add(socket);
    this.proofs.set(key, release);
    socket.once('close', () => {
      this.sockets.delete(socket);
      this.proofs.delete(key);
      release();
    });
  }

  private async greet(socket: TLSSocket): Promise<void> {
    const from = origin(socket);
    socket.on('error', () => socket.destroy());
    const peer = peerHost(socket);
    if (peer === undefined) return this.refuse(socket, 'the certificate is not one for transfers between hosts');
    const { hostId, serial } = peer;
    if (this.options.identity.isRevoked(serial)) return this.refuse(socket, 'its certificate was revoked', hostId);
    cutWhenRevoked(socket, serial, this.options.identity);
    if (!this.attempts.allow(hostId)) return this.refuse(socket, 'too many attempts within a minute', hostId);
    const limits = { maxBytes: TICKET_LINE_MAX_BYTES, timeoutMs: this.limits.helloMs };
    const line = await readFirstLine(socket, limits, this.options.clock);
    const shown = line === undefined ? undefined : parseTicketLine(line);
    if (shown === undefined) return this.refuse(socket, 'no ticket was shown in time', hostId);
    const use = this.tickets.redeem(shown.ticket, hostId);
    if (typeof use === 'string') return this.refuse(socket, use, hostId);
    this.proofs.get(from)?.();
    socket.once('close', use.release);
    if (socket.destroyed) return use.release();
    const grant = volumeOf(use.digest);
    if ((grant !== undefined) !== (shown.stream === 'volume')) {
      use.release();
      return this.refuse(socket, 'a ticket for something else', hostId);
    }
    if (grant !== undefined) await this.sendVolume(socket, use, grant, shown.from ?? FROM_BEGINNING);
    else if (shown.stream === 'hashes') await this.sendHashes(socket, use);
    else await this.connectImage(socket, use);
  }

  private async sendHashes(socket: TLSSocket, use: TicketUse): Promise<void> {
    const { clock, hashes, log } = this.options;
    try {
      if (!hashes) return this.refuse(socket, 'this host gives out no hashes', use.peerHostId);
      const packed = await hashes(use.digest);
      const idle = idleCutter(clock, this.limits.idleMs, () => socket.destroy());
      socket.once('close', () => idle.stop()).resume();
      socket.end(packed);
      log.info({ digest: use.digest, peerHostId: use.peerHostId }, 'a peer has got the hashes of an image');
    } catch (e) {
      this.refuse(socket, `the hashes cannot be given: ${e instanceof Error ? e.message : e}`, use.peerHostId);
    }
  }

  private async sendVolume(socket: TLSSocket, use: TicketUse, grant: VolumeGrant, from: GoOnFrom): Promise<void> {
    const { clock, volume, log } = this.options;
    const gone = new AbortController();
    socket.once('close', () => gone.abort()).resume();
    const idle = idleCutter(clock, this.limits.idleMs, () => socket.destroy());
    // also of one that has got all, and does not go
    socket.once('close', () => idle.stop());
    try {
      if (!volume) return this.refuse(socket, 'this host gives out no volumes', use.peerHostId);
      const file = await volume(grant);
      for await (const bytes of volumeFrames(file, from, gone.signal)) {
        idle.touch();
        if (!socket.write(bytes)) await once(socket, 'drain', { signal: gone.signal });
      }
      socket.end();
      const about = { ...grant, peerHostId: use.peerHostId, fileBytes: file.fileBytes, hadBytes: from.offset };
      log.info(about, 'a peer has got a volume');
    } catch (e) {
      this.refuse(socket, `the volume cannot be given: ${e instanceof Error ? e.message : e}`, use.peerHostId);
    }
  }

  private async connectImage(socket: TLSSocket, use: TicketUse): Promise<void> {
    const { clock, log, serve } = this.options;
    let image: Far;
    try {
      image = await dialUnix(await serve(use.digest));
    } catch (e) {
      return this.refuse(socket, `the image cannot be served: ${e instanceof Error ? e.message : e}`, use.peerHostId);
    }
    const idle = idleCutter(clock, this.limits.idleMs, () => socket.destroy());
    let sentBytes = 0;
    const end = await splice(socket, image, {
      clock,
      onBytes: (from, bytes) => {
        idle.touch();
        if (from === 'far') sentBytes += bytes;
      },
    });
    idle.stop();
    log.info(
      { digest: use.digest, peerHostId: use.peerHostId, sentBytes, endedBy: end.by === 'near' ? 'peer' : 'server' },
      'a peer has read from an image',
    );
  }

  private refuse(socket: Socket, why: string, hostId?: string): void {
    this.options.log.warn({ from: socket.remoteAddress, peerHostId: hostId, why }, 'refused a connection for an image');
    socket.destroy();
  }
}

/** What of a volume a ticket is for. */
export interface VolumeGrant {
  readonly volumeId: string;
  /** A file that was made of it; empty: its own. */
  readonly exportId: string;
}

/** A ticket is for an image, by its digest, or for a volume. */
export const volumeGrant = (volumeId: string, exportId = ''): string => `volume:${volumeId}/${exportId}`;

function volumeOf(grant: string): VolumeGrant | undefined {
  const [, volumeId, exportId] = /^volume:([^/]+)\/(.*)$/.exec(grant) ?? [];
  return volumeId === undefined ? undefined : { volumeId, exportId: exportId ?? '' };
}

const origin = (socket: Socket): string => `${socket.remoteAddress} ${socket.remotePort}`;

function dialUnix(path: string): Promise<Far> {
  return new Promise((resolve, reject) => {
    const inflow = new Inflow();
    const socket = connect({ path, onread: inflow.onread });
    socket.once('error', reject).once('connect', () => {
      socket.off('error', reject);
      resolve({ socket, inflow });
    });
  });
}
