/**
 * The bytes of the NBD protocol that our client speaks: fixed newstyle negotiation, structured replies, base:allocation.
 * Numbers and encoders only; nbd-client.ts holds the conversation.
 */

export const NBD_MAGIC = 0x4e42444d41474943n;
export const OPTION_MAGIC = 0x49484156454f5054n;
export const OPTION_REPLY_MAGIC = 0x3e889045565a9n;
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;

export const HANDSHAKE_FIXED_NEWSTYLE = 1;
export const HANDSHAKE_NO_ZEROES = 2;

export const OPT_GO = 7;
export const OPT_STRUCTURED_REPLY = 8;
export const OPT_SET_META_CONTEXT = 10;

export const REP_ACK = 1;
export const REP_INFO = 3;
export const REP_META_CONTEXT = 4;
export const REP_IS_ERROR = 0x80000000;
export const INFO_EXPORT = 0;

export const CMD_READ = 0;
export const CMD_WRITE = 1;
export const CMD_DISC = 2;
export const CMD_FLUSH = 3;
export const CMD_CACHE = 5;
export const CMD_BLOCK_STATUS = 7;

export const REPLY_DONE = 1;
export const CHUNK_NONE = 0;
export const CHUNK_OFFSET_DATA = 1;
export const CHUNK_OFFSET_HOLE = 2;
export const CHUNK_BLOCK_STATUS = 5;
export const CHUNK_IS_ERROR = 0x8000;

export const STATE_HOLE = 1;
export const STATE_ZERO = 2;

export interface NbdExtent {
  readonly offset: number;
  readonly length: number;
  /** Reads as zeros. */
  readonly zero: boolean;
}

export function encodeOption(option: number, data: Uint8Array): Buffer {
  const head = Buffer.alloc(16);
  head.writeBigUInt64BE(OPTION_MAGIC, 0);
  head.writeUInt32BE(option, 8);
  head.writeUInt32BE(data.length, 12);
  return Buffer.concat([head, data]);
}

/** A length and the text. */
export function encodeName(text: string): Buffer {
  const bytes = Buffer.from(text);
  const out = Buffer.alloc(4 + bytes.length);
  out.writeUInt32BE(bytes.length, 0);
  bytes.copy(out, 4);
  return out;
}

export function encodeRequest(command: number, cookie: bigint, offset: number, length: number): Buffer {
  const out = Buffer.alloc(28);
  out.writeUInt32BE(REQUEST_MAGIC, 0);
  out.writeUInt16BE(command, 6);
  out.writeBigUInt64BE(cookie, 8);
  out.writeBigUInt64BE(BigInt(offset), 16);
  out.writeUInt32BE(length, 24);
  return out;
}

export const ENOSPC = 28;
/** errno values that NBD defines. */
export const ERRNO: Readonly<Record<number, string>> = {
  1: 'operation not permitted',
  5: 'input/output error',
  12: 'out of memory',
  22: 'invalid argument',
  28: 'no space left on device',
  75: 'value too large',
  95: 'operation not supported',
  108: 'the server is shutting down',
};
