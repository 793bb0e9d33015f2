/**
 * Server-sent events over breaks of every kind: connections that are cut anywhere, and a controller that is killed. Who goes on
 * with the last id that it saw has every event, in order; at most the events of one revision come again.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { Cluster } from '../harness/cluster.ts';
import { seeded } from '../harness/fake-hosts.ts';
import { Lane, type Target } from '../harness/lane.ts';
import { eventually } from '../harness/processes.ts';

const HOSTS = 150;
let c: Cluster;
let target: Target;
let lane: Lane;
beforeAll(async () => {
  c = await Cluster.start();
  const [host = '', port] = c.httpAddress.split(':');
  const { token } = decodeLoginLine(readFileSync(join(c.dataDir, 'admin-token'), 'utf8'));
  target = { host, port: Number(port), ca: readFileSync(join(c.dataDir, 'trust/ca.pem'), 'utf8'), token };
  lane = new Lane(target);
});
afterAll(async () => {
  lane?.close();
  await c?.stop();
});

/** Reads the watch as a browser does: whole events only, and after a break from the last id on. */
class Follower {
  readonly messages: string[] = [];
  lastId = '1';
  #socket: TLSSocket | undefined;
  #rest = '';
  #going = true;

  start(): void {
    if (!this.#going) return;
    this.#rest = '';
    const { host, port, ca, token } = target;
    const socket = connect({ host, port, ca, checkServerIdentity: () => undefined });
    this.#socket = socket;
    socket.on('error', () => undefined).on('data', (d: Buffer) => this.#take(d.toString()));
    socket.on('close', () => setImmediate(() => this.start()));
    socket.write(
      `GET /v1/events:watch HTTP/1.1\r\nhost: berth\r\nauthorization: Bearer ${token}\r\naccept: text/event-stream\r\nlast-event-id: ${this.lastId}\r\n\r\n`,
    );
  }

  cut(): void {
    this.#socket?.destroy();
  }

  stop(): void {
    this.#going = false;
    this.cut();
  }

  #take(text: string): void {
    const events = (this.#rest + text).split('\n\n');
    this.#rest = events.pop() ?? '';
    for (const event of events) {
      const data = /^data: (.*)$/m.exec(event)?.[1];
      const id = /^id: (.*)$/m.exec(event)?.[1];
      if (data === undefined || id === undefined) continue;
      this.messages.push((JSON.parse(data) as { message: string }).message);
      this.lastId = id;
    }
  }
}

it('a follower that is cut off again and again misses nothing', { timeout: 120_000 }, async () => {
  const random = seeded(7);
  const followers = Array.from({ length: 3 }, () => new Follower());
  for (const f of followers) f.start();
  for (let i = 0; i < HOSTS; i++) {
    const body = Buffer.from(JSON.stringify({ name: `n${i}`, address: `10.9.0.${i}:7444`, labels: {} }));
    await eventually(`n${i} is added`, async () => {
      const { status } = await lane.ask('POST', '/v1/hosts', body);
      return status === 200 || status === 409; // done before the controller was killed
    });
    for (const f of followers) if (random() < 0.2) f.cut();
    if (i % 50 === 25) await c.controller.restart('SIGKILL');
  }
  const wanted = Array.from({ length: HOSTS }, (_, i) => `n${i}`);
  const seen = (f: Follower): string[] => f.messages.flatMap((m) => /\b(n\d+)\b/.exec(m)?.[1] ?? []);
  for (const f of followers)
    await eventually(
      'it has caught up',
      async () => new Set(seen(f)).size === HOSTS || Promise.reject(new Error(String(new Set(seen(f)).size))),
    );
  for (const f of followers) {
    f.stop();
    expect([...new Set(seen(f))]).toEqual(wanted);
    expect(seen(f).length).toBeLessThan(2 * HOSTS);
  }
});
