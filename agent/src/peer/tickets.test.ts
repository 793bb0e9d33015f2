import { beforeEach, describe, expect, it } from 'vitest';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { idleCutter } from './idle.ts';
import { Rate, Slots } from './limits.ts';
import { watchSilence, type Silence } from './silence.ts';
import { TicketBook, type TicketUse } from './tickets.ts';
import { FROM_BEGINNING, parseTicketLine, ticketLine, type GoOnFrom } from './ticket-line.ts';

let clock: SimClock;
beforeEach(() => void (clock = new SimClock()));

describe('a ticket', () => {
  let made = 0;
  const book = (over: { maxTickets?: number; maxPerPeer?: number } = {}): TicketBook =>
    new TicketBook({
      clock,
      newSecret: () => `secret-${++made}`,
      ttlMs: 1_000,
      maxTickets: over.maxTickets ?? 10,
      maxPerPeer: over.maxPerPeer ?? 10,
      maxUsesAtOnce: 2,
    });
  const grant = { digest: 'sha256:aa', peerHostId: 'host-b' };
  const use = (b: TicketBook, ticket: string): TicketUse => {
    const got = b.redeem(ticket, 'host-b');
    if (typeof got === 'string') throw new Error(got);
    return got;
  };

  it('is good for its host and image only, until it expires', async () => {
    const b = book();
    const { ticket, expiresAtMs } = b.open(grant);
    expect(expiresAtMs).toBe(clock.now() + 1_000);
    expect(use(b, ticket)).toMatchObject(grant);
    expect(b.redeem(ticket, 'host-c')).toBe('ticket of another host');
    expect(b.redeem(`${ticket}x`, 'host-b')).toBe('unknown ticket');
    const { ticket: unused } = b.open(grant);
    await clock.advance(1_000);
    expect(b.redeem(unused, 'host-b')).toBe('expired ticket');
  });

  it('lives as long as it is used, and then as long again', async () => {
    const b = book();
    const { ticket } = b.open(grant);
    const first = use(b, ticket);
    await clock.advance(5_000);
    use(b, ticket).release();
    first.release();
    first.release();
    await clock.advance(999);
    use(b, ticket).release();
    await clock.advance(1_000);
    expect(b.redeem(ticket, 'host-b')).toBe('expired ticket');
  });

  it('is one of a limited number of its host: newer ones replace those that nobody uses, and only its own', () => {
    const b = book({ maxTickets: 4, maxPerPeer: 2 });
    const { ticket: honest } = b.open({ ...grant, peerHostId: 'host-c' });
    const { ticket: first } = b.open(grant);
    use(b, first);
    const { ticket: second } = b.open(grant);
    const { ticket: third } = b.open(grant);
    expect(b.redeem(second, 'host-b')).toBe('unknown ticket');
    for (let i = 0; i < 100; i++) b.open(grant);
    expect(b.redeem(third, 'host-b')).toBe('unknown ticket');
    expect(use(b, first)).toMatchObject(grant);
    expect(b.redeem(honest, 'host-c')).toMatchObject({ peerHostId: 'host-c' });
    use(b, b.open(grant).ticket);
    expect(() => b.open(grant)).toThrow(/host host-b already reads as much/);
    b.open({ ...grant, peerHostId: 'host-d' });
  });

  it('serves a limited number of connections, and there is a limited number of tickets', async () => {
    const b = book({ maxTickets: 2 });
    const { ticket } = b.open(grant);
    const first = use(b, ticket);
    use(b, ticket);
    expect(b.redeem(ticket, 'host-b')).toBe('ticket in use too often');
    first.release();
    use(b, ticket);
    b.open(grant);
    expect(() => b.open(grant)).toThrow('try again');
    await clock.advance(1_000);
    b.open(grant);
  });

  it('travels in one line of a fixed form', () => {
    const ticket = 'a'.repeat(43);
    expect(parseTicketLine(ticketLine(ticket).trimEnd())).toEqual({ ticket, stream: 'image' });
    expect(parseTicketLine(ticketLine(ticket, 'hashes').trimEnd())).toEqual({ ticket, stream: 'hashes' });
    const volume = (from?: GoOnFrom) => parseTicketLine(ticketLine(ticket, 'volume', from).trimEnd());
    expect(volume()).toEqual({ ticket, stream: 'volume', from: FROM_BEGINNING });
    const from = { offset: 4096, origin: 'ab'.repeat(16) };
    expect(volume(from)).toEqual({ ticket, stream: 'volume', from });
    for (const odd of ['', ' 1', ' -1 -', ' 1 ../x', ' 1 - -'])
      expect(parseTicketLine(`berth-volume/1 ${ticket}${odd}`)).toBeUndefined();
    for (const bad of ['', ticket, `berth-image/2 ${ticket}`, `berth-image/1 ${ticket} x`, 'berth-image/1 short'])
      expect(parseTicketLine(bad)).toBeUndefined();
  });
});

describe('limits', () => {
  it('hold per key and in all, and give back once', () => {
    const slots = new Slots(3, 2);
    const a = slots.take('a');
    slots.take('a');
    expect(slots.take('a')).toBeUndefined();
    slots.take('b');
    expect(slots.take('c')).toBeUndefined();
    a?.();
    a?.();
    expect(slots.size).toBe(2);
    expect(slots.take('a')).toBeDefined();
  });

  it('count attempts per minute', async () => {
    const rate = new Rate(clock, 2);
    expect(['a', 'a', 'a', 'b'].map((k) => rate.allow(k))).toEqual([true, true, false, true]);
    await clock.advance(60_000);
    expect(rate.allow('a')).toBe(true);
  });

  it('cut what nobody touches', async () => {
    let cut = 0;
    const idle = idleCutter(clock, 100, () => cut++);
    await clock.advance(60);
    idle.touch();
    await clock.advance(60);
    expect(cut).toBe(0);
    await clock.advance(100);
    expect(cut).toBe(1);
  });
});

describe('silence', () => {
  const silences: Silence[] = [];
  let excused = false;
  const watch = () =>
    watchSilence({ clock, silentMs: 1_000, excused: () => excused, onSilent: (kind) => void silences.push(kind) });
  const pass = async (ms: number): Promise<void> => {
    for (let t = 0; t < ms; t += 250) await clock.advance(250);
  };
  beforeEach(() => {
    silences.length = 0;
    excused = false;
  });

  it('is a debt from the last word to the peer, however much more it is told', async () => {
    const w = watch();
    w.heard();
    w.said();
    await pass(750);
    w.said();
    await pass(250);
    expect(silences).toEqual(['owes']);
  });

  it('is mere quiet after the last word of the peer', async () => {
    const w = watch();
    await pass(750);
    w.heard();
    await pass(750);
    expect(silences).toEqual([]);
    await pass(500);
    expect(silences).toEqual(['quiet']);
  });

  it('is not held against a peer that is not being listened to', async () => {
    watch();
    excused = true;
    await pass(5_000);
    expect(silences).toEqual([]);
    excused = false;
    await pass(1_000);
    expect(silences).toEqual(['owes']);
  });
});
