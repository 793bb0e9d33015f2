/**
 * A small read-only NBD server on a UNIX socket, for the storage daemon that fills a copy, and for hosts that read the image
 * meanwhile: fixed newstyle, one export; structured replies where the caller can tell what is zeros. What is read comes from
 * the caller, in its own time; an error of his is an input/output error of the reader.
 */
import { chmod, chown, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import * as wire from '../disks/nbd-wire.ts';
import type { NbdExtent } from '../disks/nbd-wire.ts';
import { CONTEXT_ID, simpleAnswers, structuredAnswers, type Answers } from './nbd-answers.ts';
import { Reader } from './reader.ts';

export interface NbdServerOptions {
  readonly socketPath: string;
  readonly owner: { readonly uid: number; readonly gid: number };
  readonly sizeBytes: number;
  readonly read: (offset: number, length: number) => Promise<Buffer>;
  /** Covers at least one byte from `offset`, at most `length`. Absent: nobody is told. */
  readonly status?: (offset: number, length: number) => Promise<readonly NbdExtent[]>;
  /** Nobody is connected any more. */
  readonly onIdle?: () => void;
}

export interface NbdServer {
  /** How many are connected. */
  readers(): number;
  /** Cuts all readers off; they may come again. */
  cut(): void;
  close(): Promise<void>;
}

const MAX_OPTION_BYTES = 65_536;
const MAX_READ_BYTES = 32 * 2 ** 20;
const OPT_ABORT = 2;
const OPT_INFO = 6;
const REP_UNSUPPORTED = 0x80000001;
const CONTEXT = 'base:allocation';
/** Has flags, read-only, many connections see the same. */
const EXPORT_FLAGS = 1 | 2 | 256;
const CMD_WRITE = 1;
const EIO = 5;
const EINVAL = 22;
const ECODE_ROFS = 1;

/** The socket is its owner's alone. */
export async function serveNbd(o: NbdServerOptions): Promise<NbdServer> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket
      .on('error', () => socket.destroy())
      .once('close', () => {
        sockets.delete(socket);
        if (sockets.size === 0) o.onIdle?.();
      });
    void converse(socket, o).catch(() => socket.destroy());
  });
  await rm(o.socketPath, { force: true });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(o.socketPath, resolve));
  await chmod(o.socketPath, 0o600);
  await chown(o.socketPath, o.owner.uid, o.owner.gid);
  const cut = (): void => {
    for (const s of sockets) s.destroy();
  };
  return {
    readers: () => sockets.size,
    cut,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      cut();
      await closed;
    },
  };
}

async function converse(socket: Socket, o: NbdServerOptions): Promise<void> {
  const reader = new Reader(socket);
  const agreed = await negotiate(reader, socket, o);
  if (!agreed) return void socket.end();
  const answers = agreed.structured ? structuredAnswers(socket) : simpleAnswers(socket);
  for (;;) {
    const head = await reader.read(28);
    if (head.readUInt32BE(0) !== wire.REQUEST_MAGIC) return void socket.destroy();
    const [command, cookie, length] = [head.readUInt16BE(6), head.readBigUInt64BE(8), head.readUInt32BE(24)];
    if (command === wire.CMD_DISC) return void socket.end();
    // a write has bytes that nobody wants to read past
    if (command === CMD_WRITE) return void socket.destroy();
    const wanted = { command, cookie, length, offset: Number(head.readBigUInt64BE(16)) };
    const bytes = command === wire.CMD_READ ? Math.min(length, MAX_READ_BYTES) : 0;
    await reader.room(bytes);
    if (socket.destroyed) return;
    void answer(wanted, answers, o)
      .catch(() => socket.destroy())
      .finally(() => reader.done(bytes));
  }
}

interface Wanted {
  readonly command: number;
  readonly cookie: bigint;
  readonly offset: number;
  readonly length: number;
}

async function answer({ command, cookie, offset, length }: Wanted, answers: Answers, o: NbdServerOptions) {
  if (command === wire.CMD_FLUSH) return answers.done(cookie);
  const status = command === wire.CMD_BLOCK_STATUS ? o.status : undefined;
  if (command !== wire.CMD_READ && !status) return answers.error(cookie, ECODE_ROFS);
  const tooLong = !status && length > MAX_READ_BYTES;
  if (length === 0 || tooLong || offset + length > o.sizeBytes) return answers.error(cookie, EINVAL);
  try {
    if (status) answers.status(cookie, await status(offset, length));
    else answers.data(cookie, offset, await o.read(offset, length));
  } catch {
    answers.error(cookie, EIO);
  }
}

interface Agreed {
  structured: boolean;
}

/** Undefined when the reader wants no more. */
async function negotiate(reader: Reader, socket: Socket, o: NbdServerOptions): Promise<Agreed | undefined> {
  const hello = Buffer.alloc(18);
  hello.writeBigUInt64BE(wire.NBD_MAGIC, 0);
  hello.writeBigUInt64BE(wire.OPTION_MAGIC, 8);
  hello.writeUInt16BE(wire.HANDSHAKE_FIXED_NEWSTYLE | wire.HANDSHAKE_NO_ZEROES, 16);
  socket.write(hello);
  await reader.read(4);
  for (const agreed: Agreed = { structured: false }; ;) {
    const head = await reader.read(16);
    const [option, length] = [head.readUInt32BE(8), head.readUInt32BE(12)];
    if (head.readBigUInt64BE(0) !== wire.OPTION_MAGIC || length > MAX_OPTION_BYTES) return undefined;
    const body = await reader.read(length);
    if (option === OPT_ABORT) return undefined;
    for (const reply of optionReplies(option, body, agreed, o)) socket.write(reply);
    if (option === wire.OPT_GO) return agreed;
  }
}

function optionReplies(option: number, body: Buffer, agreed: Agreed, o: NbdServerOptions): readonly Buffer[] {
  const ack = optionReply(option, wire.REP_ACK);
  if (option === wire.OPT_GO || option === OPT_INFO)
    return [optionReply(option, wire.REP_INFO, exportInfo(o.sizeBytes)), ack];
  if (o.status && option === wire.OPT_STRUCTURED_REPLY) {
    agreed.structured = true;
    return [ack];
  }
  if (agreed.structured && option === wire.OPT_SET_META_CONTEXT)
    return body.includes(CONTEXT) ? [optionReply(option, wire.REP_META_CONTEXT, context()), ack] : [ack];
  return [optionReply(option, REP_UNSUPPORTED)];
}

function context(): Buffer {
  const id = Buffer.alloc(4);
  id.writeUInt32BE(CONTEXT_ID);
  return Buffer.concat([id, Buffer.from(CONTEXT)]);
}

function exportInfo(sizeBytes: number): Buffer {
  const info = Buffer.alloc(12);
  info.writeUInt16BE(wire.INFO_EXPORT, 0);
  info.writeBigUInt64BE(BigInt(sizeBytes), 2);
  info.writeUInt16BE(EXPORT_FLAGS, 10);
  return info;
}

function optionReply(option: number, type: number, body: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(20);
  head.writeBigUInt64BE(wire.OPTION_REPLY_MAGIC, 0);
  head.writeUInt32BE(option, 8);
  head.writeUInt32BE(type, 12);
  head.writeUInt32BE(body.length, 16);
  return Buffer.concat([head, body]);
}
