/**
 * One tunnel: carries local connections to the peer that is the source just now. Without a source a connection is held,
 * not refused: QEMU's NBD client backs off up to 16 s between attempts, but waits for a greeting as long as it takes. A
 * peer that refuses, closes or falls silent is a source no more; a connection that has carried nothing yet is held for
 * the next one, any other is closed, because an NBD session cannot change its server half-way.
 */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { dialPeer, type PeerSource } from './dial.ts';
import type { PeerIdentity } from './identity.ts';
import type { PeerStream } from './ticket-line.ts';
import { watchSilence, type Silence, type SilenceWatch } from './silence.ts';
import { Inflow } from './inflow.ts';
import { splice, type Far, type SpliceEnd } from './splice.ts';

export interface TunnelConfig {
  readonly clock: Clock;
  readonly log: Log;
  readonly identity: PeerIdentity;
  readonly silentMs: number;
  readonly connectMs: number;
  readonly hooks: {
    readonly onNeedsSource: (needed: boolean, why: string) => void;
    readonly onBlamed?: (hostId: string, why: string) => void;
    readonly onSource?: (hostId: string | undefined) => void;
  };
}

/** Held or carried at the same time; a storage daemon uses one. */
const MAX_LOCAL = 16;

export class TunnelCore {
  receivedBytes = 0;
  private source: PeerSource | undefined;
  private needing = false;
  private readonly held = new Set<Socket>();
  private readonly locals = new Set<Socket>();
  /** What a connection is for, unless it is the image. */
  private readonly streams = new WeakMap<Socket, PeerStream>();
  /** Whose bytes are carried now, and how to end that. */
  private readonly carried = new Map<TLSSocket, PeerSource>();
  private readonly closing = new AbortController();

  constructor(private readonly config: TunnelConfig) {}

  accept(local: Socket, stream: PeerStream = 'image'): void {
    this.streams.set(local, stream);
    if (this.closing.signal.aborted || this.locals.size >= MAX_LOCAL) return void local.destroy();
    this.locals.add(local);
    local.on('error', () => local.destroy());
    local.once('close', () => {
      this.locals.delete(local);
      this.held.delete(local);
    });
    local.on('readable', noticeEnd);
    this.serve(local);
  }

  offer(source: PeerSource, replace = false): void {
    this.source = source;
    this.config.hooks.onSource?.(source.peerHostId);
    // whoever reads connects again, and is led to this one
    if (replace)
      for (const [peer, from] of [...this.carried]) if (from.peerHostId !== source.peerHostId) peer.destroy();
    this.need(false, '');
    const waiting = [...this.held];
    this.held.clear();
    for (const local of waiting) this.serve(local);
  }

  /** What came from whoever is being read from is not the image: gives it up, and asks for another. */
  blame(why: string): void {
    if (this.carried.size === 0 && this.source) {
      this.config.hooks.onBlamed?.(this.source.peerHostId, why);
      this.lose(this.source, `${this.source.peerHostId} ${why}`);
    }
    for (const [peer, source] of [...this.carried]) {
      this.config.hooks.onBlamed?.(source.peerHostId, why);
      this.lose(source, `${source.peerHostId} ${why}`);
      peer.destroy();
    }
  }

  close(): void {
    this.closing.abort();
    for (const local of this.locals) local.destroy();
  }

  private serve(local: Socket): void {
    if (this.source) return void this.connect(local, this.source);
    this.held.add(local);
    this.need(true, 'no host has been offered as a source');
  }

  private need(needed: boolean, why: string): void {
    if (needed === this.needing) return;
    this.needing = needed;
    this.config.hooks.onNeedsSource(needed, why);
  }

  private async connect(local: Socket, source: PeerSource): Promise<void> {
    const gone = new AbortController();
    const onGone = (): void => gone.abort();
    local.once('close', onGone);
    const signal = AbortSignal.any([gone.signal, this.closing.signal]);
    const { clock, connectMs: timeoutMs, identity } = this.config;
    const stream = this.streams.get(local) ?? 'image';
    try {
      const inflow = new Inflow();
      const peer = await dialPeer(source, { identity, clock, timeoutMs, signal, stream, inflow });
      if (signal.aborted) return void peer.destroy();
      await this.carry(local, { socket: peer, inflow }, source);
    } catch (e) {
      if (signal.aborted) return;
      // an older agent knows of no hashes; whether it serves the image is another question
      if (stream !== 'image') return void local.destroy();
      this.lose(source, e instanceof Error ? e.message : String(e));
      this.serve(local);
    } finally {
      local.off('close', onGone);
    }
  }

  private async carry(local: Socket, far: Far<TLSSocket>, source: PeerSource): Promise<void> {
    const { socket: peer } = far;
    let silent: Silence | undefined;
    const watch = this.watch(local, (kind) => {
      silent = kind;
      peer.destroy();
    });
    local.off('readable', noticeEnd);
    const isImage = (this.streams.get(local) ?? 'image') === 'image';
    if (isImage) this.carried.set(peer, source);
    const end = await splice(local, far, {
      clock: this.config.clock,
      onBytes: (from, bytes) => this.count(from, bytes, watch),
    });
    watch.stop();
    this.carried.delete(peer);
    if (!isImage) return void local.destroySoon();
    local.destroy();
    peer.destroy();
    const why = this.fault(end, silent);
    if (why !== undefined) this.lose(source, `${source.peerHostId} ${why}`);
  }

  private watch(local: Socket, onSilent: (kind: Silence) => void): SilenceWatch {
    const { clock, silentMs } = this.config;
    return watchSilence({ clock, silentMs, excused: () => local.writableNeedDrain, onSilent });
  }

  private count(from: 'near' | 'far', bytes: number, watch: SilenceWatch): void {
    if (from === 'near') return watch.said();
    watch.heard();
    this.receivedBytes += bytes;
  }

  /** Undefined when the peer is not to blame: whoever still wants something connects again and is answered, or is not. */
  private fault(end: SpliceEnd, silent: Silence | undefined): string | undefined {
    if (silent === 'owes') return `has not answered for ${this.config.silentMs / 1_000} s`;
    if (silent === 'quiet' || end.by === 'near' || this.closing.signal.aborted) return undefined;
    return end.error ? `broke the connection off (${end.error.message})` : 'closed the connection';
  }

  private lose(source: PeerSource, why: string): void {
    this.config.log.warn({ peerHostId: source.peerHostId, why }, 'lost the source of an image');
    if (this.source !== source) return; // another one was offered meanwhile
    this.source = undefined;
    this.config.hooks.onSource?.(undefined);
    this.need(true, why);
  }
}

/** Nobody reads a held connection, so its end would go unseen; what it sent stays where it is. */
function noticeEnd(this: Socket): void {
  if (this.readableLength === 0) this.read();
}
