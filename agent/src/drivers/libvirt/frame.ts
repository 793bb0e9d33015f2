/** Messages of libvirt's RPC on a byte stream: a 28-byte header and a payload. What a payload means is not known here. */

export const PROGRAM = { remote: 0x20008086, qemu: 0x20008087, keepalive: 0x6b656570 } as const;
export const TYPE = { call: 0, reply: 1, message: 2, stream: 3, streamHole: 6 } as const;
export const STATUS = { ok: 0, error: 1, more: 2 } as const;
export const KEEPALIVE = { ping: 1, pong: 2 } as const;

export const HEADER_BYTES = 28;
/** The whole message with its length word. */
export const MAX_MESSAGE_BYTES = 33_554_432 + 4;
/** The largest piece of stream data that every libvirt takes. */
export const MAX_STREAM_CHUNK_BYTES = 262_120;

export interface Header {
  readonly program: number;
  readonly procedure: number;
  readonly type: number;
  readonly serial: number;
  readonly status: number;
}

export interface Message extends Header {
  readonly payload: Buffer;
}

/** The peer does not speak this protocol, or lost its place in it; the connection is of no more use. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

const VERSION = 1;
const EMPTY = Buffer.alloc(0);

/** One buffer, so that one system call sends header and payload. */
export function encodeMessage(header: Header, payload: Uint8Array = EMPTY): Buffer {
  const length = HEADER_BYTES + payload.length;
  if (length > MAX_MESSAGE_BYTES) throw new FrameError(`a message of ${length} bytes; at most ${MAX_MESSAGE_BYTES}`);
  const out = Buffer.allocUnsafe(length);
  const words = [length, header.program, VERSION, header.procedure, header.type, header.serial, header.status];
  words.forEach((word, i) => out.writeUInt32BE(word, i * 4));
  out.set(payload, HEADER_BYTES);
  return out;
}

function parse(frame: Buffer): Message {
  const version = frame.readUInt32BE(8);
  if (version !== VERSION) throw new FrameError(`protocol version ${version}`);
  return {
    program: frame.readUInt32BE(4),
    procedure: frame.readUInt32BE(12),
    type: frame.readUInt32BE(16),
    serial: frame.readUInt32BE(20),
    status: frame.readUInt32BE(24),
    payload: frame.subarray(HEADER_BYTES),
  };
}

/** Cuts a byte stream into messages, however it arrives. Holds no more than one message and the last chunk. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #size = 0;

  /** Calls `onMessage` for each message that `chunk` completes. Throws FrameError when the stream makes no sense. */
  push(chunk: Buffer, onMessage: (m: Message) => void): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    for (let length = this.#nextLength(); length !== undefined && length <= this.#size; length = this.#nextLength())
      onMessage(parse(this.#take(length)));
  }

  #nextLength(): number | undefined {
    if (this.#size < 4) return undefined;
    const length = this.#head(4).readUInt32BE(0);
    if (length < HEADER_BYTES || length > MAX_MESSAGE_BYTES) throw new FrameError(`a message of ${length} bytes`);
    return length;
  }

  /** The first chunk, made to hold at least `bytes`. Joins only what is needed: large messages are joined once. */
  #head(bytes: number): Buffer {
    const first = this.#chunks[0] ?? EMPTY;
    if (first.length >= bytes) return first;
    const joined = Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined;
  }

  #take(length: number): Buffer {
    const head = this.#head(length);
    if (head.length === length) this.#chunks.shift();
    else this.#chunks[0] = head.subarray(length);
    this.#size -= length;
    return head.subarray(0, length);
  }
}
