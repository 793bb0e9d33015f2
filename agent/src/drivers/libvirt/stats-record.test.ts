/** The reader of statistics: it agrees with the codecs on every answer, and refuses what is none. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { readAnswers } from './stats-record.ts';
import { statsOf, statsReply } from './stats-reply.fixture.ts';
import type { StatsRecord, TypedValue } from './types.ts';
import { XdrError } from './xdr.ts';

const came = { atMs: 1, nowMs: 2 };
const value = fc.oneof(
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }).map((value): TypedValue => ({ type: 'int', value })),
  fc.nat({ max: 2 ** 32 - 1 }).map((value): TypedValue => ({ type: 'uint', value })),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value): TypedValue => ({ type: 'llong', value })),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value): TypedValue => ({ type: 'ullong', value })),
  fc.double().map((value): TypedValue => ({ type: 'double', value })),
  fc.boolean().map((value): TypedValue => ({ type: 'boolean', value })),
  fc.string({ maxLength: 9 }).map((value): TypedValue => ({ type: 'string', value: value.replaceAll('\0', '') })),
);
const field = fc.constantFrom('balloon.rss', 'cpu.user', 'block.0.name', 'block.0.path', 'net.1.rx.bytes', 'else');
const params = fc.array(fc.record({ field, value }), { maxLength: 12 });
const record = params.map((p): StatsRecord => ({
  dom: { name: 'web', uuid: '11111111-2222-4333-8444-555555555555', id: 1 },
  params: p,
}));

/** As a count is meant: what is no number, or below zero, is nothing. */
const counted = (v: TypedValue | undefined): number => {
  const n = v === undefined || v.type === 'string' ? 0 : Number(v.value);
  return n > 0 && Number.isFinite(n) ? Math.trunc(n) : 0;
};

it('reads every value of every type, steps over the others, and finds each domain in its place', () => {
  fc.assert(
    fc.property(fc.array(record, { maxLength: 4 }), (records) => {
      const answers = readAnswers(statsReply(...records), came);
      expect(answers).toHaveLength(records.length);
      for (const [i, r] of records.entries()) {
        const last = (name: string) => r.params.findLast((p) => p.field === name)?.value;
        const stats = answers[i]?.stats;
        expect(stats === undefined).toBe(last('balloon.rss') === undefined);
        if (stats) expect(stats.more?.cpuUserNs).toBe(counted(last('cpu.user')));
      }
    }),
  );
});

it('refuses random bytes, and answers that are cut off or changed, quickly and with words', () => {
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 400 }).map((b) => Buffer.from(b)),
    fc.tuple(fc.array(record, { maxLength: 3 }), fc.nat(), fc.nat({ max: 255 })).map(([records, at, byte]) => {
      const bytes = Buffer.from(statsReply(...records));
      bytes[at % bytes.length] = byte;
      return byte % 3 === 0 ? bytes.subarray(0, at % bytes.length) : bytes;
    }),
  );
  fc.assert(
    fc.property(garbage, (bytes) => {
      try {
        readAnswers(bytes, came);
      } catch (e) {
        expect(e).toBeInstanceOf(XdrError);
      }
    }),
  );
});

it('keeps nanoseconds of years of CPU time, to the nanosecond for 104 days', () => {
  const exact = 2n ** 53n - 1n;
  const of = (ns: bigint) =>
    statsOf([
      ['balloon.rss', { type: 'ullong', value: 1n }],
      ['cpu.time', { type: 'ullong', value: ns }],
    ])?.cpuTimeNs;
  expect(of(exact)).toBe(exact);
  const years = 10n ** 18n + 1n;
  expect(Number((of(years) ?? 0n) - years)).toBeLessThan(1_000);
});
