import { mkdirSync, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createLog } from '@berth/shared/log/log.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Helpers } from '../helpers.ts';
import type { ImageStore } from './images.ts';
import { createPool } from './pool.ts';
import { createImageServers } from './serve.ts';

const DIGEST = `sha256:${'ab'.repeat(32)}`;
const MINUTE = 60_000;
const undo: (() => unknown)[] = [];

afterEach(async () => {
  for (const f of undo.splice(0).reverse()) await f();
});

/** Helpers that are a socket of this very process. */
function setUp() {
  const dir = mkdtempSync(join(tmpdir(), 'serve-'));
  undo.push(() => rm(dir, { recursive: true }));
  const pool = createPool(dir);
  const running = new Map<string, Server>();
  const helpers: Helpers = {
    prepare: async (name) => pool.helperDir(name),
    async start(spec) {
      mkdirSync(dirname(spec.socketPath), { recursive: true });
      const server = createServer((s) => s.on('error', () => undefined)).listen(spec.socketPath);
      await new Promise((resolve) => server.once('listening', resolve));
      running.set(spec.name, server);
      undo.push(() => server.close());
    },
    find: async (name) => (running.has(name) ? [process.pid] : []),
    async stop(name) {
      running.get(name)?.close();
      running.delete(name);
    },
  };
  const image = { digest: DIGEST, virtualSizeBytes: 1, fileBytes: 1 };
  const images = { get: async () => image } as unknown as ImageStore;
  const clock = new SimClock();
  const log = createLog('test', 'silent');
  return { servers: createImageServers({ pool, helpers, images, clock, log }), running, clock };
}

const connected = async (path: string): Promise<Socket> => {
  const socket = connect(path);
  await new Promise((resolve) => socket.once('connect', resolve));
  undo.push(() => socket.destroy());
  return socket;
};

describe('an image server', () => {
  it('that nobody uses ends after some minutes, and comes back when asked for', async () => {
    const { servers, running, clock } = setUp();
    await servers.serve(DIGEST);
    await clock.advance(3 * MINUTE);
    expect(running.size).toBe(1);
    await clock.advance(3 * MINUTE);
    await vi.waitFor(() => expect(running.size).toBe(0));
    await servers.serve(DIGEST);
    expect(running.size).toBe(1);
  });

  it('that somebody is connected to stays', async () => {
    const { servers, running, clock } = setUp();
    const socket = await connected(await servers.serve(DIGEST));
    for (let i = 0; i < 10; i++) await clock.advance(MINUTE);
    // a second request queues behind the sweep, so the sweep has looked
    await servers.serve(DIGEST);
    expect(running.size).toBe(1);
    socket.destroy();
  });
});
