/**
 * Tickets for displays: random, kept as hashes and in memory only, good once and not for long, bound to user, VM, kind of display
 * and host. A restart of the controller ends them all. Opens nothing.
 */
import { createHash } from 'node:crypto';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, VmId } from '@berth/shared/model/ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { newSecret } from '@berth/shared/runtime/random.ts';

export interface DisplayGrant {
  readonly user: string;
  readonly vmId: VmId;
  readonly hostId: HostId;
  readonly kind: 'vnc' | 'spice';
}

export const TICKET_MS = 30_000;
/** That one user has not used yet. */
const MOST_PER_USER = 64;

interface Entry extends DisplayGrant {
  readonly expiresAtMs: number;
}

const hashOf = (ticket: string): string => createHash('sha256').update(ticket).digest('hex');

export class DisplayTickets {
  /** By hash, oldest first. */
  private readonly entries = new Map<string, Entry>();

  constructor(private readonly clock: Clock) {}

  /** @throws RATE_LIMITED when the user has too many unused ones. */
  issue(grant: DisplayGrant): { readonly ticket: string; readonly expiresAtMs: number } {
    const nowMs = this.clock.now();
    for (const [hash, e] of this.entries) if (e.expiresAtMs <= nowMs) this.entries.delete(hash);
    const mine = [...this.entries.values()].filter((e) => e.user === grant.user);
    if (mine.length >= MOST_PER_USER)
      throw new ClusterError('RATE_LIMITED', `${grant.user} has ${mine.length} tickets that are not used yet`, {
        retryAfterMs: String(Math.max(1, (mine[0]?.expiresAtMs ?? nowMs) - nowMs)),
      });
    const ticket = newSecret();
    const expiresAtMs = nowMs + TICKET_MS;
    this.entries.set(hashOf(ticket), { ...grant, expiresAtMs });
    return { ticket, expiresAtMs };
  }

  /** Whether it is good for this; gone afterwards in any case. */
  redeem(ticket: string, wanted: DisplayGrant): boolean {
    const hash = hashOf(ticket);
    const e = this.entries.get(hash);
    this.entries.delete(hash);
    return (
      e !== undefined &&
      e.expiresAtMs > this.clock.now() &&
      e.user === wanted.user &&
      e.vmId === wanted.vmId &&
      e.hostId === wanted.hostId &&
      e.kind === wanted.kind
    );
  }
}
