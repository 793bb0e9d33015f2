import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  encodeMessage,
  FrameError,
  FrameReader,
  HEADER_BYTES,
  KEEPALIVE,
  MAX_MESSAGE_BYTES,
  PROGRAM,
  STATUS,
  TYPE,
} from './frame.ts';
import type { Message } from './frame.ts';

const read = (...chunks: Uint8Array[]): Message[] => {
  const reader = new FrameReader();
  const out: Message[] = [];
  for (const c of chunks) reader.push(Buffer.from(c), (m) => out.push(m));
  return out;
};
const word = (n: number): Buffer => {
  const b = Buffer.alloc(4);
  b.writeUInt32BE(n);
  return b;
};
/** As captured from libvirt 9.0: the reply to AUTH_LIST. */
const AUTH_REPLY = Buffer.from('000000242000808600000001000000420000000100000001000000000000000100000000', 'hex');

describe('messages on the wire', () => {
  it('has the bytes that libvirt takes for AUTH_LIST', () => {
    const header = { program: PROGRAM.remote, procedure: 66, type: TYPE.call, serial: 1, status: STATUS.ok };
    expect(encodeMessage(header).toString('hex')).toBe('0000001c200080860000000100000042000000000000000100000000');
  });

  it('has the bytes that libvirt takes for a ping', () => {
    const header = { program: PROGRAM.keepalive, procedure: KEEPALIVE.ping, type: TYPE.message, serial: 0, status: 0 };
    expect(encodeMessage(header).toString('hex')).toBe('0000001c6b6565700000000100000001000000020000000000000000');
  });

  it('reads a captured reply', () => {
    expect(read(AUTH_REPLY)).toEqual([
      {
        program: PROGRAM.remote,
        procedure: 66,
        type: TYPE.reply,
        serial: 1,
        status: 0,
        payload: Buffer.from([0, 0, 0, 1, 0, 0, 0, 0]),
      },
    ]);
  });

  it('refuses to send more than libvirt takes', () => {
    const header = { program: PROGRAM.remote, procedure: 1, type: TYPE.call, serial: 1, status: 0 };
    expect(() => encodeMessage(header, Buffer.alloc(MAX_MESSAGE_BYTES))).toThrow(FrameError);
  });
});

describe('cutting a byte stream', () => {
  const message = fc.record({
    program: fc.constantFrom(PROGRAM.remote, PROGRAM.keepalive),
    procedure: fc.nat({ max: 500 }),
    type: fc.nat({ max: 6 }),
    serial: fc.nat({ max: 2 ** 32 - 1 }),
    status: fc.nat({ max: 2 }),
    payload: fc.uint8Array({ maxLength: 300 }).map((b) => Buffer.from(b)),
  });

  it('finds the same messages however they arrive', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 80 })), (messages, cuts) => {
        let bytes = Buffer.concat(messages.map((m) => encodeMessage(m, m.payload)));
        const chunks: Buffer[] = [];
        for (const cut of cuts) {
          chunks.push(bytes.subarray(0, cut));
          bytes = bytes.subarray(cut);
        }
        expect(read(...chunks, bytes)).toEqual(messages);
      }),
    );
  });

  it('reads a message that comes byte by byte', () => {
    expect(read(...[...AUTH_REPLY].map((b) => Buffer.from([b])))).toHaveLength(1);
  });

  it.each([0, HEADER_BYTES - 1, MAX_MESSAGE_BYTES + 1, 0xffff_ffff])('gives up on a length of %d', (length) => {
    expect(() => read(word(length))).toThrow(FrameError);
  });

  it('gives up on another protocol version', () => {
    const other = Buffer.from(AUTH_REPLY);
    other.writeUInt32BE(2, 8);
    expect(() => read(other)).toThrow(FrameError);
  });

  it('never crashes on random bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (chunks) => {
        try {
          read(...chunks);
        } catch (e) {
          expect(e).toBeInstanceOf(FrameError);
        }
      }),
    );
  });
});
