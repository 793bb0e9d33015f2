import { describe, expect, it } from 'vitest';
import type { HostId, VmId } from '@berth/shared/model/ids.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { DisplayTickets, TICKET_MS, type DisplayGrant } from './display-tickets.ts';

const GRANT: DisplayGrant = { user: 'ann', vmId: 'vm-1' as VmId, hostId: 'host-1' as HostId, kind: 'vnc' };
let nowMs = 1_000_000;
const clock = { ...systemClock, now: () => nowMs };

describe('a ticket for a display', () => {
  it('is good once', () => {
    const tickets = new DisplayTickets(clock);
    const { ticket } = tickets.issue(GRANT);
    expect([tickets.redeem(ticket, GRANT), tickets.redeem(ticket, GRANT)]).toEqual([true, false]);
  });

  it.each([
    ['user', { user: 'eve' }],
    ['VM', { vmId: 'vm-2' as VmId }],
    ['host, after the VM has moved', { hostId: 'host-2' as HostId }],
    ['kind', { kind: 'spice' as const }],
  ])('is of no use for another %s, and then of none at all', (_, other) => {
    const tickets = new DisplayTickets(clock);
    const { ticket } = tickets.issue(GRANT);
    expect([tickets.redeem(ticket, { ...GRANT, ...other }), tickets.redeem(ticket, GRANT)]).toEqual([false, false]);
  });

  it('ends by itself', () => {
    const tickets = new DisplayTickets(clock);
    const { ticket, expiresAtMs } = tickets.issue(GRANT);
    expect(expiresAtMs).toBe(nowMs + TICKET_MS);
    nowMs += TICKET_MS;
    expect(tickets.redeem(ticket, GRANT)).toBe(false);
  });

  it('is one of a few: who lets them lie gets no more for a while, and others are not concerned', () => {
    const tickets = new DisplayTickets(clock);
    for (let i = 0; i < 64; i++) tickets.issue(GRANT);
    expect(() => tickets.issue(GRANT)).toThrow(expect.objectContaining({ reason: 'RATE_LIMITED' }));
    tickets.issue({ ...GRANT, user: 'bob' });
    nowMs += TICKET_MS;
    tickets.issue(GRANT);
  });

  it('can be told from a guess', () => {
    const tickets = new DisplayTickets(clock);
    expect(tickets.issue(GRANT).ticket).toMatch(/^[\w-]{43}$/);
    expect([tickets.redeem('', GRANT), tickets.redeem('x'.repeat(43), GRANT)]).toEqual([false, false]);
  });
});
