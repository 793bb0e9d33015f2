/**
 * The tickets that this host has given out: each lets one named peer read one image until it expires. Kept in memory
 * only, and only as hashes: after an agent restart peers ask the controller for new ones. Opens no sockets.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';

export interface TicketGrant {
  readonly digest: string;
  readonly peerHostId: string;
}

/** A ticket in use by one connection: it does not expire before `release`. */
export interface TicketUse extends TicketGrant {
  release(): void;
}

export type Refusal = 'unknown ticket' | 'ticket of another host' | 'expired ticket' | 'ticket in use too often';

export interface TicketBookOptions {
  readonly clock: Clock;
  readonly newSecret: () => string;
  /** How long a ticket lives unused, and after the last connection that used it. */
  readonly ttlMs: number;
  readonly maxTickets: number;
  /** Of one peer: a new one takes the place of its oldest that nobody uses. */
  readonly maxPerPeer: number;
  readonly maxUsesAtOnce: number;
}

interface Entry extends TicketGrant {
  readonly hash: Buffer;
  expiresAtMs: number;
  uses: number;
}

const hashOf = (secret: string): Buffer => createHash('sha256').update(secret).digest();

export class TicketBook {
  private entries: Entry[] = [];

  constructor(private readonly options: TicketBookOptions) {}

  /** Makes a ticket. RESOURCE_BUSY when too many are open. A peer that has many made gets rid of its own only. */
  open(grant: TicketGrant): { ticket: string; expiresAtMs: number } {
    this.prune();
    this.makeRoomFor(grant.peerHostId);
    if (this.entries.length >= this.options.maxTickets)
      throw new ClusterError(
        'RESOURCE_BUSY',
        `this host already has ${this.entries.length} transfers promised to peers; try again when some have ended`,
      );
    const ticket = this.options.newSecret();
    const expiresAtMs = this.options.clock.now() + this.options.ttlMs;
    this.entries.push({ ...grant, hash: hashOf(ticket), expiresAtMs, uses: 0 });
    return { ticket, expiresAtMs };
  }

  /** Takes a ticket that a host showed. */
  redeem(ticket: string, peerHostId: string): TicketUse | Refusal {
    const hash = hashOf(ticket);
    // every entry is compared, so that the time taken tells nothing about which one came close
    const found = this.entries.filter((e) => timingSafeEqual(e.hash, hash))[0];
    if (!found) return 'unknown ticket';
    if (found.peerHostId !== peerHostId) return 'ticket of another host';
    if (this.expired(found)) return 'expired ticket';
    if (found.uses >= this.options.maxUsesAtOnce) return 'ticket in use too often';
    found.uses += 1;
    return { digest: found.digest, peerHostId, release: this.releaser(found) };
  }

  private makeRoomFor(peerHostId: string): void {
    const mine = this.entries.filter((e) => e.peerHostId === peerHostId);
    if (mine.length < this.options.maxPerPeer) return;
    const oldest = mine.find((e) => e.uses === 0);
    if (!oldest)
      throw new ClusterError(
        'RESOURCE_BUSY',
        `host ${peerHostId} already reads as much from this host as one host may; try again when some of it has ended`,
      );
    this.entries = this.entries.filter((e) => e !== oldest);
  }

  private releaser(entry: Entry): () => void {
    let released = false;
    return () => {
      if (released) return;
      released = true;
      entry.uses -= 1;
      entry.expiresAtMs = this.options.clock.now() + this.options.ttlMs;
    };
  }

  private expired(e: Entry): boolean {
    return e.uses === 0 && this.options.clock.now() >= e.expiresAtMs;
  }

  private prune(): void {
    this.entries = this.entries.filter((e) => !this.expired(e));
  }
}
