import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createLive } from './live.ts';

/** A terminal whose screen is what a person sees: lines, `ESC[nA` and `ESC[0J` are obeyed. */
function terminal(o: { columns?: number; rows?: number; isTTY?: boolean } = {}) {
  const screen: string[] = [''];
  let row = 0;
  const write = (text: string) => {
    for (const part of text.split(/(\n|\r|\x1b\[\d+A|\x1b\[0J)/u)) {
      const up = /^\x1b\[(\d+)A$/u.exec(part);
      if (part === '\n') screen[++row] ??= '';
      else if (up) row -= Number(up[1]);
      else if (part === '\x1b[0J') screen.splice(row, screen.length, '');
      else if (part !== '' && part !== '\r') screen[row] += part;
    }
    return true;
  };
  const stream = Object.assign(new PassThrough(), { isTTY: o.isTTY ?? true, columns: 40, rows: 10, ...o, write });
  const timers: (() => void)[] = [];
  const clock = {
    now: () => 0,
    monotonic: () => 0,
    sleep: async () => {},
    after(_ms: number, fn: () => void) {
      timers.push(fn);
      return { cancel: () => void timers.splice(timers.indexOf(fn), 1) };
    },
  };
  const live = createLive({ stdout: stream, stderr: stream, clock });
  return { live, tick: () => timers.splice(0).forEach((fn) => fn()), seen: () => screen.filter((l) => l !== '') };
}

describe('changing lines', () => {
  it('change in place, below what is final', () => {
    const t = terminal();
    t.live.set('web', 'vm web volume');
    t.live.set('db', 'vm db volume');
    t.tick();
    t.live.set('web', 'vm web define');
    t.tick();
    expect(t.seen()).toEqual(['vm web define', 'vm db volume']);
    t.live.set('web', undefined);
    t.live.final('vm web created');
    expect(t.seen()).toEqual(['vm web created', 'vm db volume']);
  });

  it('leave nothing behind at the end', () => {
    const t = terminal();
    t.live.set('web', 'vm web volume');
    t.tick();
    t.live.final('vm db created');
    t.live.end();
    t.tick();
    expect(t.seen()).toEqual(['vm db created']);
  });

  it('never wrap, whatever is in them', () => {
    const t = terminal({ columns: 20 });
    t.live.set('x', `é${'x'.repeat(30)}`);
    t.live.set('y', 'two\nlines\x1b[2J');
    t.tick();
    expect(t.seen()).toEqual([`é${'x'.repeat(18)}`, 'two lines [2J']);
  });

  it('are never more than the screen holds', () => {
    const t = terminal({ rows: 5 });
    for (let i = 1; i <= 20; i++) t.live.set(`${i}`, `vm ${i}`);
    t.tick();
    expect(t.seen()).toEqual(['vm 1', 'vm 2', '… and 18 more']);
  });

  it('are not written where nobody sees them change', () => {
    const t = terminal({ isTTY: false });
    t.live.set('web', 'vm web volume');
    t.tick();
    t.live.final('vm web created');
    t.live.end();
    expect(t.seen()).toEqual(['vm web created']);
  });
});
