/** The order of messages, and floods. What a host's connection does then is connections.test.ts's. */
import { EventEmitter } from 'node:events';
import type { ClientReadableStream } from '@grpc/grpc-js';
import { beforeEach, expect, it } from 'vitest';
import type { WatchMessage } from '@berth/proto/agent/v1/watch.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { Intake } from './intake.ts';
import { LIMITS } from './limits.ts';
import { HostRecord } from './record.ts';

class FakeStream extends EventEmitter {
  paused = 0;
  resumed = 0;
  pause(): void {
    this.paused++;
  }
  resume(): void {
    this.resumed++;
  }
}

let stream: FakeStream;
let told: string[];
let later: (() => void)[];
beforeEach(() => {
  stream = new FakeStream();
  told = [];
  later = [];
  const clock: Clock = {
    now: () => 0,
    monotonic: () => 0,
    after: (_, fn) => (later.push(fn), { cancel: () => undefined }),
    sleep: () => Promise.resolve(),
  };
  const watch = stream as unknown as ClientReadableStream<WatchMessage>;
  new Intake(watch, 'host-1', new HostRecord(), clock, {
    alive: () => undefined,
    applied: () => told.push('applied'),
    snapshot: () => told.push('snapshot'),
    broken: (why) => told.push(why),
  });
});
const send = (seq: bigint, message?: WatchMessage['message']) => stream.emit('data', { seq, message });
const begin = (hostId = 'host-1') => ({
  $case: 'begin' as const,
  value: { hostId, hostBootId: 'b', agentInstanceId: 'a' },
});
const end = { $case: 'end' as const, value: { sources: undefined } };
const heartbeat = { $case: 'heartbeat' as const, value: {} };

it('takes a snapshot that begins at any number, and what follows in order', () => {
  send(7n, begin());
  send(8n, end);
  send(9n, heartbeat);
  expect(told).toEqual(['applied', 'snapshot']);
});

it.each([
  ['begins without a snapshot', () => send(1n, heartbeat)],
  ['leaves out a message', () => (send(1n, begin()), send(3n, end))],
  ['repeats a message', () => (send(1n, begin()), send(1n, heartbeat))],
])('gives up a stream that %s, and takes no more of it', (_, misbehave) => {
  misbehave();
  send(2n, begin());
  send(3n, end);
  expect(told).toEqual(['it left out messages']);
});

it('gives up a stream that speaks for another host', () => {
  send(1n, begin('host-2'));
  expect(told).toEqual(['it reports as another host']);
});

it('lets a message of a kind that it does not know yet pass', () => {
  send(1n, begin());
  send(2n);
  send(3n, end);
  expect(told).toEqual(['applied', 'snapshot']);
});

it('slows a flood down by flow control and drops nothing', () => {
  send(1n, begin());
  for (let i = 0; i < LIMITS.messageBurst; i++) send(BigInt(i + 2), heartbeat);
  expect(stream.paused).toBeGreaterThan(0);
  later[0]?.();
  expect(stream.resumed).toBe(1);
  expect(told).toEqual([]);
});
