import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { domain, remoteError, statsRecord, typedParam, uuid } from './types.ts';
import type { TypedValue } from './types.ts';
import {
  array,
  decode,
  double,
  encode,
  hyper,
  int,
  opaque,
  optional,
  string,
  struct,
  uhyper,
  uint,
  XdrError,
} from './xdr.ts';
import type { Codec } from './xdr.ts';

const hex = (s: string): Buffer => Buffer.from(s.replaceAll(' ', ''), 'hex');
const UUID = '11111111-2222-4333-8444-555555555555';

describe('bytes on the wire', () => {
  const cases: [string, Codec<never>, unknown, string][] = [
    ['a negative int', int as never, -1, 'ffffffff'],
    ['an unsigned int', uint as never, 0xdeadbeef, 'deadbeef'],
    ['a hyper', hyper as never, -2n, 'fffffffffffffffe'],
    ['an unsigned hyper', uhyper as never, 2n ** 64n - 1n, 'ffffffffffffffff'],
    ['a double', double as never, 1.5, '3ff8000000000000'],
    ['text, padded', string as never, 'web', '00000003 77656200'],
    ['text that needs no padding', string as never, 'webs', '00000004 77656273'],
    ['empty text', string as never, '', '00000000'],
    ['an absent option', optional(int) as never, undefined, '00000000'],
    ['a present option', optional(int) as never, 7, '00000001 00000007'],
    ['an array', array(int, 9) as never, [1, 2], '00000002 00000001 00000002'],
    ['fixed bytes', opaque(3) as never, Buffer.from('abc'), '61626300'],
    ['a struct, in order', struct({ a: int, b: string }) as never, { a: 1, b: 'x' }, '00000001 00000001 78000000'],
    [
      'a domain',
      domain as never,
      { name: 'web', uuid: UUID, id: -1 },
      '00000003 77656200 11111111222243338444555555555555 ffffffff',
    ],
    [
      'a typed parameter',
      typedParam as never,
      { field: 'a', value: { type: 'ullong', value: 5n } },
      '00000001 61000000 00000004 0000000000000005',
    ],
  ];
  it.each(cases)('encodes and decodes %s', (_name, codec, value, bytes) => {
    expect(encode(codec, value as never).toString('hex')).toBe(bytes.replaceAll(' ', ''));
    expect(decode(codec, hex(bytes))).toEqual(value);
  });

  it('decodes an error as libvirt 9.0 sent it', () => {
    const captured =
      '00000037000000140000000100000037526571756573746564206f7065726174696f6e206973206e6f742076616c69643a20646f6d61696e206973206e6f742072756e6e696e67000000000200000000' +
      '0000000100000024526571756573746564206f7065726174696f6e206973206e6f742076616c69643a2025730000000100000015646f6d61696e206973206e6f742072756e6e696e6700000000000000ffffffffffffffff00000000';
    expect(decode(remoteError, hex(captured))).toMatchObject({
      code: 55,
      domain: 20,
      message: 'Requested operation is not valid: domain is not running',
      level: 2,
      str2: 'domain is not running',
      int1: -1,
    });
  });

  it('decodes a statistics record as libvirt 9.0 sent it', () => {
    const captured =
      '000000037765620011111111222243338444555555555555ffffffff000000020000000b73746174652e73746174650000000001000000050000000c73746174652e726561736f6e0000000100000000';
    expect(decode(statsRecord, hex(captured))).toEqual({
      dom: { name: 'web', uuid: UUID, id: -1 },
      params: [
        { field: 'state.state', value: { type: 'int', value: 5 } },
        { field: 'state.reason', value: { type: 'int', value: 0 } },
      ],
    });
  });
});

describe('what the wire format cannot carry', () => {
  const refused: [string, () => unknown][] = [
    ['an int out of range', () => encode(int, 2 ** 31)],
    ['a negative unsigned hyper', () => encode(uhyper, -1n)],
    ['text with a NUL', () => encode(string, 'a\0b')],
    ['text of more than 4 MiB', () => encode(string, 'x'.repeat(4_194_305))],
    ['too many elements', () => encode(array(int, 1), [1, 2])],
    ['a malformed uuid', () => encode(uuid, 'nonsense')],
    ['bytes of the wrong length', () => encode(opaque(4), Buffer.alloc(3))],
    ['bytes left over', () => decode(int, hex('0000000100000002'))],
    ['too few bytes', () => decode(hyper, hex('00000001'))],
    ['a length beyond the input', () => decode(string, hex('00000100 61616161'))],
    ['a count beyond the input', () => decode(array(int, 1_000_000), hex('000f4240 00000001'))],
    ['a presence flag that is neither 0 nor 1', () => decode(optional(int), hex('00000002 00000001'))],
    ['an unknown type of typed parameter', () => decode(typedParam, hex('00000001 61000000 00000009 00000000'))],
  ];
  it.each(refused)('refuses %s', (_name, act) => expect(act).toThrow(XdrError));
});

const text = fc.string({ unit: 'grapheme', maxLength: 40 }).filter((s) => !s.includes('\0'));
const i32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const u32 = fc.nat({ max: 2 ** 32 - 1 });
const someUuid = fc.uuid();
const someDomain = fc.record({ name: text, uuid: someUuid, id: i32 });
const maybe = <T>(a: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(a, { nil: undefined });
const someValue: fc.Arbitrary<TypedValue> = fc.oneof(
  i32.map((value) => ({ type: 'int', value }) as const),
  u32.map((value) => ({ type: 'uint', value }) as const),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => ({ type: 'llong', value }) as const),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => ({ type: 'ullong', value }) as const),
  fc.double({ noNaN: true }).map((value) => ({ type: 'double', value }) as const),
  fc.boolean().map((value) => ({ type: 'boolean', value }) as const),
  text.map((value) => ({ type: 'string', value }) as const),
);
const someStats = fc.record({ dom: someDomain, params: fc.array(fc.record({ field: text, value: someValue })) });
const someError = fc.record({
  code: i32,
  domain: i32,
  message: maybe(text),
  level: i32,
  dom: maybe(someDomain),
  str1: maybe(text),
  str2: maybe(text),
  str3: maybe(text),
  int1: i32,
  int2: i32,
  net: maybe(fc.record({ name: text, uuid: someUuid })),
});

describe('any value', () => {
  it('comes back as it went', () => {
    fc.assert(fc.property(someStats, (v) => void expect(decode(statsRecord, encode(statsRecord, v))).toEqual(v)));
    fc.assert(fc.property(someError, (v) => void expect(decode(remoteError, encode(remoteError, v))).toEqual(v)));
  });

  it('is decoded from random bytes quickly or refused, and never crashes the decoder', () => {
    const codecs = [statsRecord, remoteError, domain, array(statsRecord, 16_384), array(string, 1_000_000)];
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc
        .tuple(someStats, fc.nat(), fc.nat({ max: 255 }))
        .map(([v, at, byte]) => damaged(encode(statsRecord, v), at, byte)),
    );
    fc.assert(
      fc.property(garbage, fc.constantFrom(...(codecs as Codec<unknown>[])), (bytes, codec) => {
        try {
          decode(codec, Buffer.from(bytes));
        } catch (e) {
          expect(e).toBeInstanceOf(XdrError);
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

function damaged(bytes: Buffer, at: number, byte: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at % copy.length] = byte;
  return copy;
}
