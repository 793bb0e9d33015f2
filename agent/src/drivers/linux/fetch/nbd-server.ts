/**
 * A small read-only NBD server on a UNIX socket, for the storage daemon that fills a copy: fixed newstyle, simple replies,
 * one export. What is read comes from the caller, in its own time; an error of his is an input/output error of the reader.
 */
import { chmod, chown, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { ByteQueue } from '../disks/byte-queue.ts';
import * as wire from '../disks/nbd-wire.ts';

export interface NbdServerOptions {
  readonly socketPath: string;
  readonly owner: { readonly uid: number; readonly gid: number };
  readonly sizeBytes: number;
  readonly read: (offset: number, length: number) => Promise<Buffer>;
}

export interface NbdServer {
  close(): Promise<void>;
}

const MAX_OPTION_BYTES = 65_536;
const MAX_READ_BYTES = 32 * 2 ** 20;
const OPT_ABORT = 2;
const OPT_INFO = 6;
const REP_UNSUPPORTED = 0x80000001;
/** Has flags, read-only, many connections see the same. */
const EXPORT_FLAGS = 1 | 2 | 256;
const EIO = 5;
const EINVAL = 22;
const ECODE_ROFS = 1;

/** The socket is its owner's alone. */
export async function serveNbd(o: NbdServerOptions): Promise<NbdServer> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy()).once('close', () => sockets.delete(socket));
    void converse(socket, o).catch(() => socket.destroy());
  });
  await rm(o.socketPath, { force: true });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(o.socketPath, resolve));
  await chmod(o.socketPath, 0o600);
  await chown(o.socketPath, o.owner.uid, o.owner.gid);
  return {
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const s of sockets) s.destroy();
      await closed;
    },
  };
}

async function converse(socket: Socket, o: NbdServerOptions): Promise<void> {
  const queue = new ByteQueue();
  socket.on('data', (d: Buffer) => queue.push(d));
  socket.once('close', () => queue.fail(new Error('the reader has gone')));
  if (!(await negotiate(queue, socket, o))) return void socket.end();
  for (;;) {
    const head = await queue.read(28);
    if (head.readUInt32BE(0) !== wire.REQUEST_MAGIC) return void socket.destroy();
    const [command, cookie, length] = [head.readUInt16BE(6), head.readBigUInt64BE(8), head.readUInt32BE(24)];
    if (command === wire.CMD_DISC) return void socket.end();
    if (command === wire.CMD_READ) void answer(socket, cookie, Number(head.readBigUInt64BE(16)), length, o);
    else if (command === 1)
      return void socket.destroy(); // a write has bytes that nobody wants to read past
    else socket.write(reply(command === wire.CMD_FLUSH ? 0 : ECODE_ROFS, cookie));
  }
}

async function answer(
  socket: Socket,
  cookie: bigint,
  offset: number,
  length: number,
  o: NbdServerOptions,
): Promise<void> {
  if (length > MAX_READ_BYTES || offset + length > o.sizeBytes) return void socket.write(reply(EINVAL, cookie));
  const data = await o.read(offset, length).catch(() => undefined);
  if (socket.destroyed) return;
  if (!data) return void socket.write(reply(EIO, cookie));
  socket.cork();
  socket.write(reply(0, cookie));
  socket.write(data);
  socket.uncork();
}

function reply(error: number, cookie: bigint): Buffer {
  const out = Buffer.alloc(16);
  out.writeUInt32BE(wire.SIMPLE_REPLY_MAGIC, 0);
  out.writeUInt32BE(error, 4);
  out.writeBigUInt64BE(cookie, 8);
  return out;
}

/** False when the reader wants no more. */
async function negotiate(queue: ByteQueue, socket: Socket, o: NbdServerOptions): Promise<boolean> {
  const hello = Buffer.alloc(18);
  hello.writeBigUInt64BE(wire.NBD_MAGIC, 0);
  hello.writeBigUInt64BE(wire.OPTION_MAGIC, 8);
  hello.writeUInt16BE(wire.HANDSHAKE_FIXED_NEWSTYLE | wire.HANDSHAKE_NO_ZEROES, 16);
  socket.write(hello);
  await queue.read(4);
  for (;;) {
    const head = await queue.read(16);
    const [option, length] = [head.readUInt32BE(8), head.readUInt32BE(12)];
    if (head.readBigUInt64BE(0) !== wire.OPTION_MAGIC || length > MAX_OPTION_BYTES) return false;
    await queue.read(length);
    if (option === OPT_ABORT) return false;
    if (option !== wire.OPT_GO && option !== OPT_INFO) {
      socket.write(optionReply(option, REP_UNSUPPORTED));
      continue;
    }
    socket.write(optionReply(option, wire.REP_INFO, exportInfo(o.sizeBytes)));
    socket.write(optionReply(option, wire.REP_ACK));
    if (option === wire.OPT_GO) return true;
  }
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
