/** How an NBD server answers, in either of the protocol's two ways. Encodes only; nbd-server.ts decides what. */
import type { Socket } from 'node:net';
import * as wire from '../disks/nbd-wire.ts';
import type { NbdExtent } from '../disks/nbd-wire.ts';

export interface Answers {
  done(cookie: bigint): void;
  error(cookie: bigint, code: number): void;
  data(cookie: bigint, offset: number, bytes: Buffer): void;
  status(cookie: bigint, extents: readonly NbdExtent[]): void;
}

/** Of the only context there is. */
export const CONTEXT_ID = 1;
const CHUNK_ERROR = 0x8001;

export function simpleAnswers(socket: Socket): Answers {
  const reply = (cookie: bigint, code: number, bytes?: Buffer): void => {
    const head = Buffer.alloc(16);
    head.writeUInt32BE(wire.SIMPLE_REPLY_MAGIC, 0);
    head.writeUInt32BE(code, 4);
    head.writeBigUInt64BE(cookie, 8);
    together(socket, head, bytes);
  };
  return {
    done: (cookie) => reply(cookie, 0),
    error: (cookie, code) => reply(cookie, code),
    data: (cookie, _offset, bytes) => reply(cookie, 0, bytes),
    status() {
      throw new Error('what is zeros can be told in structured replies only');
    },
  };
}

export function structuredAnswers(socket: Socket): Answers {
  const reply = (cookie: bigint, type: number, fields: Buffer, bytes?: Buffer): void => {
    const head = Buffer.alloc(20);
    head.writeUInt32BE(wire.STRUCTURED_REPLY_MAGIC, 0);
    head.writeUInt16BE(wire.REPLY_DONE, 4);
    head.writeUInt16BE(type, 6);
    head.writeBigUInt64BE(cookie, 8);
    head.writeUInt32BE(fields.length + (bytes?.length ?? 0), 16);
    together(socket, Buffer.concat([head, fields]), bytes);
  };
  return {
    done: (cookie) => reply(cookie, wire.CHUNK_NONE, Buffer.alloc(0)),
    error(cookie, code) {
      const fields = Buffer.alloc(6);
      fields.writeUInt32BE(code, 0);
      reply(cookie, CHUNK_ERROR, fields);
    },
    data(cookie, offset, bytes) {
      const fields = Buffer.alloc(8);
      fields.writeBigUInt64BE(BigInt(offset), 0);
      reply(cookie, wire.CHUNK_OFFSET_DATA, fields, bytes);
    },
    status(cookie, extents) {
      const fields = Buffer.alloc(4 + 8 * extents.length);
      fields.writeUInt32BE(CONTEXT_ID, 0);
      extents.forEach((e, i) => {
        fields.writeUInt32BE(e.length, 4 + 8 * i);
        fields.writeUInt32BE(e.zero ? wire.STATE_HOLE | wire.STATE_ZERO : 0, 8 + 8 * i);
      });
      reply(cookie, wire.CHUNK_BLOCK_STATUS, fields);
    },
  };
}

function together(socket: Socket, head: Buffer, bytes: Buffer | undefined): void {
  if (socket.destroyed) return;
  socket.cork();
  socket.write(head);
  if (bytes) socket.write(bytes);
  socket.uncork();
}
