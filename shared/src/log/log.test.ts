import { describe, expect, it } from 'vitest';
import { forPeople, logTo } from './log.ts';

function written(terminal: boolean, act: (log: ReturnType<typeof logTo>) => void): string {
  let text = '';
  const to = { write: (line: string) => void (text += line) };
  act(logTo(terminal ? forPeople(to) : to, 'berth-agent', 'info'));
  return text;
}

describe('the log', () => {
  it('is JSON where a program collects it, without secrets', () => {
    const text = written(false, (log) => log.warn({ token: 's3cret', host: 'h1' }, 'odd'));
    expect(JSON.parse(text)).toMatchObject({
      level: 40,
      name: 'berth-agent',
      token: '[redacted]',
      host: 'h1',
      msg: 'odd',
    });
  });
  it('is one short line on a terminal, without stacks and secrets', () => {
    const text = written(true, (log) =>
      log.warn({ err: new Error('no\nroute'), token: 's3cret', vms: 3 }, 'h1 is silent'),
    );
    expect(text).toMatch(/^\d\d:\d\d:\d\d berth-agent warn {2}h1 is silent: no route .*vms=3\n$/);
    expect(text).not.toMatch(/s3cret|log\.test/);
  });
  it('leaves the last word on a terminal to the program', () =>
    expect(written(true, (log) => log.fatal('gone'))).toBe(''));
});
