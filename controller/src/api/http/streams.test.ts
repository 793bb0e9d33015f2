/** Server-sent events over real TLS: ids, resuming, signs of life, readers that are slow, rights that end. */
import type { IncomingMessage } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { Event } from '@berth/proto/v1/event.ts';
import { Vm } from '@berth/proto/v1/vm.ts';
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import { Events } from '../../app/events.ts';
import type { State } from '../../state/state.ts';
import { Scope } from '../scope.ts';
import { eventHandlers } from '../event.ts';
import { HttpBed, until, type Stubs } from './testing.ts';

let bed: HttpBed;
const start = async (stubs: Stubs): Promise<HttpBed> => (bed = await HttpBed.start(stubs));
afterEach(() => bed.stop());

/** What has come so far. */
class Reader {
  text = '';
  ended = false;
  constructor(readonly res: IncomingMessage) {
    res.on('data', (d: Buffer) => (this.text += d.toString()));
    res.on('end', () => (this.ended = true)).on('error', () => (this.ended = true));
  }
  static async open(path: string, headers: Record<string, string> = {}, token?: string): Promise<Reader> {
    return new Reader(await bed.open(path, { headers, ...(token === undefined ? {} : { token }) }));
  }
  get messages(): string[] {
    return [...this.text.matchAll(/"message":"([^"]*)"/g)].map(([, m]) => m ?? '');
  }
}

/** One that never ends by itself, and tells nothing. */
const silent: Stubs = {
  events: {
    watchEvents: async function* (_, call) {
      yield Event.fromPartial({ message: 'first', resumeAfter: 7n });
      await new Promise<void>((resolve) => call.signal.addEventListener('abort', () => resolve(), { once: true }));
    },
  },
};

const scopeOf = (state: State) => new Scope(state.tables, () => Promise.reject(new Error('no jobs')));

describe('a watch', () => {
  it('goes on after the last event that was seen, without a gap', async () => {
    let handlers: ReturnType<typeof eventHandlers> | undefined;
    await start({
      events: {
        watchEvents: (r, call) => {
          handlers ??= eventHandlers(new Events(bed.state), scopeOf(bed.state));
          return handlers.watchEvents(r, call);
        },
      },
    });
    const tell = (...messages: string[]) =>
      bed.state.update((tx) => {
        const about = { type: 'x.y', severity: 'info', subjectKind: 'host', subject: 'h1', jobId: undefined } as const;
        for (const message of messages) tx.event({ ...about, message });
      });
    const first = await Reader.open('/v1/events:watch', { accept: 'text/event-stream' });
    expect(first.res.headers['content-type']).toBe('text/event-stream');
    await tell('a');
    await until(() => expect(first.messages).toEqual(['a']));
    const id = /^id: (\d+)$/m.exec(first.text)?.[1] ?? '';
    expect(first.text).toContain(`"revision":"${id}"`);
    first.res.destroy();
    await tell('b', 'c');
    await tell('d');
    const second = await Reader.open('/v1/events:watch', { 'last-event-id': id });
    await until(() => expect(second.messages).toEqual(['b', 'c', 'd']));
    const third = await Reader.open(`/v1/events:watch?afterRevision=${id}`);
    await until(() => expect(third.messages).toEqual(['b', 'c', 'd']));
    for (const r of [second, third]) r.res.destroy();
  });

  it('says that it lives when nothing happens', async () => {
    await start(silent);
    const reader = await Reader.open('/v1/events:watch');
    await until(() => expect(reader.text.match(/^: heartbeat$/gm)?.length).toBeGreaterThan(2));
    reader.res.destroy();
  });

  it('that fails at once is an error with its status, and later an event', async () => {
    let late = false;
    await start({
      events: {
        watchEvents: async function* () {
          if (late) yield Event.fromPartial({ message: 'first' });
          throw notFound('it is gone');
        },
      },
    });
    expect((await bed.ask('/v1/events:watch')).status).toBe(404);
    late = true;
    const r = await bed.ask('/v1/events:watch');
    expect(r.status).toBe(200);
    expect(r.text).toMatch(/event: error\ndata: \{"error":\{"code":404,.*it is gone/);
  });

  it('says when there is no more to come', async () => {
    await start({
      events: {
        watchEvents: async function* () {
          yield Event.fromPartial({ message: 'last' });
        },
      },
    });
    expect((await bed.ask('/v1/events:watch')).text).toMatch(/"message":"last".*\n\nevent: end\ndata: \{\}\n\n$/);
  });

  it('ends with a word when its token is ended', async () => {
    await start(silent);
    const { token, secret } = await bed.tokens.create({ user: 'vic', role: 'viewer', lifetimeMs: 0 }, 'test');
    const reader = await Reader.open('/v1/events:watch', {}, `${token.id}.${secret}`);
    await until(() => expect(reader.messages).toEqual(['first']));
    await bed.tokens.delete(token.id, 'test');
    await until(() => expect(reader.ended).toBe(true));
    expect(reader.text).toMatch(/event: error\ndata: \{"error":\{"code":401,"status":"UNAUTHENTICATED"/);
  });

  it('ends with a word when the controller stops', async () => {
    await start(silent);
    const reader = await Reader.open('/v1/events:watch');
    await until(() => expect(reader.messages).toEqual(['first']));
    bed.stopping.abort(new ClusterError('CONTROLLER_UNREACHABLE', 'the controller is stopping'));
    await until(() => expect(reader.ended).toBe(true));
    expect(reader.text).toMatch(/event: error\ndata: .*the controller is stopping/);
  });

  it('is for clients that take it', async () => {
    await start(silent);
    expect((await bed.ask('/v1/events:watch', { headers: { accept: 'application/json' } })).status).toBe(406);
  });
});

describe('a reader that does not read', () => {
  it('is cut off, stops the handler, and costs no memory and nobody else anything', async () => {
    let made = 0;
    let over = false;
    const text = 'x'.repeat(100_000);
    await start({
      events: {
        watchEvents: async function* () {
          try {
            for (; made < 100_000; made++) yield Event.fromPartial({ message: text });
          } finally {
            over = true;
          }
        },
        listEvents: () => ({ events: [] }),
      },
    });
    const res = await bed.open('/v1/events:watch');
    res.on('error', () => undefined).pause();
    await until(async () => {
      expect((await bed.ask('/v1/events')).status).toBe(200);
      expect(over).toBe(true);
    });
    expect(made).toBeLessThan(1_000); // what fits into the buffers of two sockets, and no more
    await until(() => expect(res.destroyed || res.resume().readableEnded).toBe(true));
  });

  it('is cut off in the middle of a long list too, and one that reads it in time is not', async () => {
    const vms = Array.from({ length: 20 }, () => Vm.fromPartial({ stateReason: 'x'.repeat(1 << 20) }));
    await start({ vms: { listVms: () => ({ vms, nextPageToken: '', found: [] }) } });
    expect((await bed.ask('/v1/vms')).text.length).toBeGreaterThan(20 << 20);
    const socket = await bed.raw();
    let closed = false;
    socket.on('error', () => undefined).on('close', () => (closed = true));
    let got = 0;
    socket.once('data', (d: Buffer) => {
      got += d.length;
      socket.pause();
    });
    socket.write(`GET /v1/vms HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${bed.token}\r\n\r\n`);
    await until(async () => expect(await bed.server.connections()).toBe(0));
    socket.on('data', (d: Buffer) => (got += d.length)).resume();
    await until(() => expect(closed).toBe(true));
    expect(got).toBeLessThan(20 << 20);
  });

  it('but one that is slow and steady is not', async () => {
    const total = 100;
    await start({
      vms: {
        readVmLog: async function* () {
          for (let i = 0; i < total; i++) yield { data: Buffer.alloc(100_000) };
        },
      },
    });
    let got = 0;
    for await (const chunk of await bed.open('/v1/vms/web/log')) {
      got += (chunk as Buffer).length;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(got).toBe(total * 100_000);
  });
});
