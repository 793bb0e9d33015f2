/**
 * For tests: a libvirtd on a UNIX socket with a few domains in memory, whose answers a test can replace, delay, refuse or
 * swallow. It shares codecs with the client; that those are right is proven by golden bytes and by the real libvirtd.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeMessage, FrameReader, KEEPALIVE, PROGRAM, STATUS, TYPE } from './frame.ts';
import type { Header, Message } from './frame.ts';
import { EVENT, PROC } from './procedures.ts';
import type { Procedure } from './procedures.ts';
import { remoteError } from './types.ts';
import { decode, encode } from './xdr.ts';
import type { Codec } from './xdr.ts';

/** Thrown by a handler: the call is refused with this number. */
export class Refusal extends Error {
  constructor(
    readonly code: number,
    message: string,
    readonly int1 = 0,
  ) {
    super(message);
  }
}

export interface FakeDomain {
  readonly uuid: string;
  readonly name: string;
  state: number;
  reason: number;
  metadata?: string;
}

export interface Client {
  readonly socket: Socket;
  readonly seen: Message[];
  /** Whether this client registered for events. */
  events: boolean;
}

type Handler = (args: unknown, client: Client, serial: number) => unknown;

/** Returned by a handler: no reply, ever. */
export const SILENCE = Symbol('no reply');

export class FakeLibvirtd {
  readonly dir = mkdtempSync(join(tmpdir(), 'fake-libvirtd-'));
  readonly socketPath = join(this.dir, 'sock');
  readonly clients = new Set<Client>();
  readonly domains = new Map<string, FakeDomain>();
  readonly saved = new Set<string>();
  readonly calls: string[] = [];
  readonly #handlers = new Map<string, { procedure: Procedure<never, never>; handler: Handler }>();
  #server: Server | undefined;
  answersPings = true;
  pongs = 0;

  constructor() {
    this.on(PROC.authList, () => ({ types: [0] }));
    this.on(PROC.authPolkit, () => ({ complete: 1 }));
    this.on(PROC.supportsFeature, () => ({ supported: 1 }));
    this.on(PROC.open, () => undefined);
    this.on(PROC.libVersion, () => ({ version: 9_000_000n }));
    this.on(PROC.version, () => ({ version: 7_002_022n }));
    this.on(PROC.registerEvent, (_args, client) => {
      client.events = true;
      return { callbackId: 1 };
    });
    this.#serveDomains();
  }

  on<A, R>(procedure: Procedure<A, R>, handler: (args: A, client: Client, serial: number) => unknown): void {
    this.#handlers.set(keyOf(procedure.program ?? PROGRAM.remote, procedure.number), {
      procedure: procedure as never,
      handler: handler as Handler,
    });
  }

  async listen(): Promise<this> {
    rmSync(this.socketPath, { force: true });
    const server = createServer((socket) => this.#accept(socket));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.socketPath, resolve));
    return this;
  }

  /** As by SIGKILL: all sockets close, nobody listens. */
  async kill(): Promise<void> {
    const server = this.#server;
    for (const c of this.clients) c.socket.destroy();
    await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())));
  }

  async dispose(): Promise<void> {
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }

  send(client: Client, header: Omit<Header, 'program'> & { program?: number }, payload?: Uint8Array): void {
    client.socket.write(encodeMessage({ program: PROGRAM.remote, ...header }, payload));
  }

  emit<T>(event: { readonly number: number; readonly payload: Codec<T> }, args: T): void {
    for (const c of this.clients)
      if (c.events)
        this.send(
          c,
          { type: TYPE.message, procedure: event.number, serial: 0, status: STATUS.ok },
          encode(event.payload, args),
        );
  }

  lifecycle(uuid: string, event: number, detail = 0): void {
    this.emit(EVENT.lifecycle, { callbackId: 1, dom: this.#ref(uuid), event, detail });
  }

  #accept(socket: Socket): void {
    const client: Client = { socket, seen: [], events: false };
    const reader = new FrameReader();
    this.clients.add(client);
    socket.on('error', () => undefined);
    socket.on('close', () => this.clients.delete(client));
    socket.on('data', (chunk: Buffer) => reader.push(chunk, (m) => this.#receive(client, m)));
  }

  #receive(client: Client, m: Message): void {
    client.seen.push(m);
    if (m.program === PROGRAM.keepalive) {
      if (m.procedure === KEEPALIVE.pong) this.pongs++;
      else if (this.answersPings) client.socket.write(encodeMessage({ ...m, procedure: KEEPALIVE.pong }));
    } else if (m.type === TYPE.call) void this.#call(client, m);
  }

  async #call(client: Client, m: Message): Promise<void> {
    const entry = this.#handlers.get(keyOf(m.program, m.procedure));
    const reply = { program: m.program, type: TYPE.reply, procedure: m.procedure, serial: m.serial };
    try {
      if (entry === undefined) throw new Refusal(39, `unknown procedure: ${m.procedure}`);
      this.calls.push(entry.procedure.name);
      const result = await entry.handler(decode(entry.procedure.args, m.payload), client, m.serial);
      if (result === SILENCE) return;
      this.send(client, { ...reply, status: STATUS.ok }, encode(entry.procedure.result, result as never));
    } catch (e) {
      const refusal = e instanceof Refusal ? e : new Refusal(1, String(e));
      this.send(client, { ...reply, status: STATUS.error }, errorBytes(refusal));
    }
  }

  #ref(uuid: string): { name: string; uuid: string; id: number } {
    return { uuid, name: this.domains.get(uuid)?.name ?? 'gone', id: -1 };
  }

  #get(uuid: string): FakeDomain {
    const found = this.domains.get(uuid);
    if (found === undefined) throw new Refusal(42, `no domain with matching uuid '${uuid}'`);
    return found;
  }

  #serveDomains(): void {
    const refs = (): { name: string; uuid: string; id: number }[] => [...this.domains.keys()].map((u) => this.#ref(u));
    this.on(PROC.listDomains, () => ({ domains: refs(), count: this.domains.size }));
    this.on(PROC.lookupByUuid, ({ uuid }) => ({ dom: this.#ref(this.#get(uuid).uuid) }));
    this.on(PROC.getState, ({ dom }) => this.#get(dom.uuid));
    this.on(PROC.getInfo, ({ dom }) => ({
      state: this.#get(dom.uuid).state,
      maxMemoryKib: 65_536n,
      memoryKib: 65_536n,
      vcpus: 1,
      cpuTimeNs: 0n,
    }));
    this.on(PROC.hasManagedSave, ({ dom }) => ({ result: this.saved.has(dom.uuid) ? 1 : 0 }));
    this.on(PROC.isPersistent, ({ dom }) => ({ persistent: this.#get(dom.uuid) ? 1 : 0 }));
    this.on(PROC.getMetadata, ({ dom }) => {
      const { metadata } = this.#get(dom.uuid);
      if (metadata === undefined) throw new Refusal(80, 'metadata not found');
      return { metadata };
    });
  }
}

const keyOf = (program: number, procedure: number): string => `${program}/${procedure}`;

export const errorBytes = (r: Refusal): Buffer =>
  encode(remoteError, {
    code: r.code,
    domain: 10,
    message: r.message,
    level: 2,
    dom: undefined,
    str1: undefined,
    str2: undefined,
    str3: undefined,
    int1: r.int1,
    int2: 0,
    net: undefined,
  });
