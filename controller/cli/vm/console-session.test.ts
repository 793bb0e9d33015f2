import { Duplex, PassThrough } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import type { VmConsoleInput, VmConsoleOutput } from '@berth/proto/v1/vm.ts';
import { systemClock, type Timer } from '@berth/shared/runtime/clock.ts';
import type { Api } from '../core/api.ts';
import type { Context } from '../core/context.ts';
import { ConsoleSession } from './console-session.ts';

/** One connection, of which the test is the other end. */
class Line extends Duplex {
  readonly got: VmConsoleInput[] = [];
  ended = false;
  constructor() {
    super({ objectMode: true });
  }
  override _read(): void {}
  override _write(m: VmConsoleInput, _: BufferEncoding, done: () => void): void {
    this.got.push(m);
    done();
  }
  override _final(done: () => void): void {
    this.ended = true;
    done();
  }
  cancel(): void {
    this.destroy();
  }
  says(said: Partial<VmConsoleOutput>): void {
    this.push({ data: Buffer.alloc(0), ...said });
  }
  get typed(): string {
    return this.got.map((m) => (m.message?.$case === 'data' ? m.message.value.toString() : '')).join('');
  }
}

function session() {
  const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => undefined });
  const [stdout, stderr, timers] = [new PassThrough(), new PassThrough(), [] as (() => void)[]];
  const clock = {
    ...systemClock,
    after(_ms: number, fn: () => void): Timer {
      timers.push(fn);
      return { cancel: () => void timers.splice(timers.indexOf(fn), 1) };
    },
  };
  const ctx = { stdin, stdout, stderr, clock, signal: new AbortController().signal } as unknown as Context;
  const lines: Line[] = [];
  const api = { console: () => (lines.push(new Line()), lines.at(-1)), translate: (e: unknown) => e } as unknown as Api;
  const s = new ConsoleSession(ctx, api, { id: 'vm-1', name: 'web', session: 'me', force: true });
  s.start();
  const said = (stream: PassThrough) => String(stream.read() ?? '');
  return {
    s,
    stdin,
    lines,
    timePasses: () => timers.splice(0).forEach((t) => t()),
    out: () => said(stdout),
    err: () => said(stderr),
  };
}

describe('a console session', () => {
  it('goes on where it was, under the same name, and takes nothing over the second time', async () => {
    const t = session();
    const first = t.s.talk(() => undefined);
    t.lines[0]?.says({ position: 'p1' });
    t.lines[0]?.says({ data: Buffer.from('hello'), position: 'p2' });
    await vi.waitFor(() => expect(t.out()).toBe('hello'));
    t.lines[0]?.destroy(new Error('the connection broke'));
    await expect(first).rejects.toThrow('broke');
    t.stdin.write('typed meanwhile');
    const second = t.s.talk(() => undefined);
    t.lines[1]?.says({ data: Buffer.from(' again'), position: 'p3', gap: true });
    await vi.waitFor(() => expect(t.lines[1]?.typed).toBe('typed meanwhile'));
    const opened = t.lines.map((l) => l.got[0]?.message?.value);
    expect(opened).toEqual([
      { vm: 'vm-1', force: true, session: 'me', from: undefined },
      { vm: 'vm-1', force: false, session: 'me', from: 'p2' },
    ]);
    expect(t.err()).toMatch(/some output is lost/);
    t.lines[1]?.says({ ended: 'it is stopped', position: 'p3' });
    t.lines[1]?.push(null);
    await second;
    expect(t.s.why).toBe('it is stopped');
  });

  it('types to a guest whose older agent says nothing by itself', async () => {
    const t = session();
    const talk = t.s.talk(() => undefined);
    t.stdin.write('x');
    t.timePasses();
    await vi.waitFor(() => expect(t.lines[0]?.typed).toBe('x'));
    t.s.stop();
    await talk;
  });

  it('says once what may be wrong when Enter has no answer', async () => {
    const t = session();
    const talk = t.s.talk(() => undefined);
    t.lines[0]?.says({ position: 'p1' });
    t.stdin.write('\r');
    await vi.waitFor(() => expect(t.lines[0]?.typed).toBe('\r'));
    t.timePasses();
    expect(t.err()).toMatch(/The guest says nothing.*\n.*console=ttyS0.*\n.*serial-getty@ttyS0/);
    t.stdin.write('\r');
    await vi.waitFor(() => expect(t.lines[0]?.typed).toBe('\r\r'));
    t.timePasses();
    expect(t.err()).toBe('');
    t.s.stop();
    await talk;
  });

  it('leaves by its key, which the guest does not get', async () => {
    const t = session();
    const talk = t.s.talk(() => undefined);
    t.lines[0]?.says({ position: 'p1' });
    t.stdin.write('\x1d');
    await talk;
    expect([t.s.left.aborted, t.lines[0]?.typed]).toEqual([true, '']);
  });
});
