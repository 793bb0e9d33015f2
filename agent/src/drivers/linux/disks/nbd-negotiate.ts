/** The opening of an NBD conversation: greeting, structured replies, block status, and the export we want. */
import type { ByteQueue } from './byte-queue.ts';
import * as wire from './nbd-wire.ts';

export interface Agreed {
  readonly sizeBytes: number;
  readonly blockStatus: boolean;
}

const MAX_OPTION_REPLY_BYTES = 65_536;
/** A server may send any number of informational replies; an honest one sends a handful. */
const MAX_OPTION_REPLIES = 64;
const CONTEXT = 'base:allocation';

/** @throws Error with a line that says what the server did wrong or refused. */
export async function negotiate(queue: ByteQueue, send: (bytes: Buffer) => void, exportName: string): Promise<Agreed> {
  const hello = await queue.read(18);
  if (hello.readBigUInt64BE(0) !== wire.NBD_MAGIC || hello.readBigUInt64BE(8) !== wire.OPTION_MAGIC)
    throw new Error('this is no NBD server');
  const flags = hello.readUInt16BE(16);
  if ((flags & wire.HANDSHAKE_FIXED_NEWSTYLE) === 0) throw new Error('the NBD server is too old (no fixed newstyle)');
  const answer = Buffer.alloc(4);
  answer.writeUInt32BE(flags & (wire.HANDSHAKE_FIXED_NEWSTYLE | wire.HANDSHAKE_NO_ZEROES));
  send(answer);

  const structured = await option(queue, send, wire.OPT_STRUCTURED_REPLY, Buffer.alloc(0));
  const blockStatus = structured.ok && (await agreeOnStatus(queue, send, exportName));
  const go = await option(queue, send, wire.OPT_GO, Buffer.concat([wire.encodeName(exportName), Buffer.alloc(2)]));
  if (!go.ok) throw new Error(`the server refuses the export${go.text ? ` (${go.text})` : ''}`);
  const info = go.replies.find((r) => r.length >= 12 && r.readUInt16BE(0) === wire.INFO_EXPORT);
  if (!info) throw new Error('the server does not tell the size of the export');
  const sizeBytes = Number(info.readBigUInt64BE(2));
  if (!Number.isSafeInteger(sizeBytes)) throw new Error('the server tells an absurd size of the export');
  return { sizeBytes, blockStatus };
}

/** The only context we ask for, so its id need not be remembered. */
async function agreeOnStatus(queue: ByteQueue, send: (bytes: Buffer) => void, exportName: string): Promise<boolean> {
  const one = Buffer.alloc(4);
  one.writeUInt32BE(1);
  const body = Buffer.concat([wire.encodeName(exportName), one, wire.encodeName(CONTEXT)]);
  const reply = await option(queue, send, wire.OPT_SET_META_CONTEXT, body);
  return reply.ok && reply.replies.some((r) => r.subarray(4).toString() === CONTEXT);
}

interface OptionAnswer {
  readonly ok: boolean;
  /** Bodies of the informational replies. */
  readonly replies: readonly Buffer[];
  /** What a refusal says. */
  readonly text: string;
}

async function option(
  queue: ByteQueue,
  send: (bytes: Buffer) => void,
  code: number,
  data: Buffer,
): Promise<OptionAnswer> {
  send(wire.encodeOption(code, data));
  const replies: Buffer[] = [];
  for (let n = 0; n < MAX_OPTION_REPLIES; n++) {
    const head = await queue.read(20);
    const type = head.readUInt32BE(12);
    const length = head.readUInt32BE(16);
    if (head.readBigUInt64BE(0) !== wire.OPTION_REPLY_MAGIC || head.readUInt32BE(8) !== code)
      throw new Error('the NBD server answers with garbage');
    if (length > MAX_OPTION_REPLY_BYTES) throw new Error('the NBD server answers more than it may');
    const body = await queue.read(length);
    if (type === wire.REP_ACK) return { ok: true, replies, text: '' };
    if (type >= wire.REP_IS_ERROR) return { ok: false, replies, text: printable(body) };
    if (type !== wire.REP_INFO && type !== wire.REP_META_CONTEXT)
      throw new Error(`the NBD server answers an option with the unknown type ${type}`);
    replies.push(body);
  }
  throw new Error('the NBD server never ends its answer');
}

/** A server's words, made safe for a log line. */
export const printable = (bytes: Buffer): string =>
  bytes
    .toString()
    .replace(/[^\x20-\x7e]+/g, ' ')
    .slice(0, 200)
    .trim();
