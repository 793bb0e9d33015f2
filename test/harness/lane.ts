/**
 * One HTTP/1.1 connection, one request at a time, as cheap as can be: for tests and benches that send many. Only for answers
 * that have a length.
 */
import { connect, type TLSSocket } from 'node:tls';

export interface Answer {
  readonly status: number;
  readonly body: string;
}

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
  readonly token: string;
}

const END = Buffer.from('\r\n\r\n');

export class Lane {
  #socket: TLSSocket | undefined;
  #chunks: Buffer[] = [];
  #size = 0;
  /** Of head and body together, once the head is known. */
  #wanted = 0;
  #waiting: { resolve: (a: Answer) => void; reject: (e: Error) => void } | undefined;

  constructor(private readonly target: Target) {}

  /** Rejects when the connection is closed before the whole answer is there; the next request opens another. */
  ask(verb: string, path: string, body?: Buffer, type = 'application/json'): Promise<Answer> {
    const socket = (this.#socket ??= this.#open());
    const about = body === undefined ? '' : `content-type: ${type}\r\ncontent-length: ${body.length}\r\n`;
    const { token } = this.target;
    const head = `${verb} ${path} HTTP/1.1\r\nhost: berth\r\nauthorization: Bearer ${token}\r\n${about}\r\n`;
    const answer = new Promise<Answer>((resolve, reject) => (this.#waiting = { resolve, reject }));
    socket.write(body === undefined ? head : Buffer.concat([Buffer.from(head), body]));
    return answer;
  }

  close(): void {
    this.#socket?.destroy();
  }

  #open(): TLSSocket {
    const { host, port, ca } = this.target;
    const socket = connect({ host, port, ca, checkServerIdentity: () => undefined });
    socket.setNoDelay(true);
    socket.on('data', (d: Buffer) => this.#take(d)).on('error', () => undefined);
    socket.on('close', () => {
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      this.#forget();
      this.#settle()?.reject(new Error('the connection was closed'));
    });
    return socket;
  }

  #take(data: Buffer): void {
    this.#chunks.push(data);
    this.#size += data.length;
    if (this.#size < this.#wanted) return;
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    const end = all.indexOf(END);
    if (end < 0) return;
    const head = all.toString('latin1', 0, end);
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
    const whole = end + END.length + length;
    this.#wanted = whole;
    if (all.length < whole) return;
    const body = all.toString('utf8', end + END.length, whole);
    this.#forget();
    if (/\r\nconnection: close/i.test(head)) this.#leave();
    this.#settle()?.resolve({ status: Number(head.slice(9, 12)), body });
  }

  #leave(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
    this.#forget();
  }

  #forget(): void {
    this.#chunks = [];
    this.#size = this.#wanted = 0;
  }

  #settle() {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting;
  }
}
