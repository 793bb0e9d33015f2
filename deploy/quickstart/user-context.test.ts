import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { configStore } from '@berth/controller/cli/core/config.ts';
import { forgetContext, rememberContext } from './user-context.ts';

describe("the person's own configuration", () => {
  let dir: string;
  const saved = { ...process.env };
  const endpoint = { controller: '127.0.0.1:7443', ca: 'CA', token: 'token' };
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'berth-quickstart-'));
    process.env['BERTH_CONFIG'] = join(dir, 'berth', 'config.yaml');
    delete process.env['BERTH_CONTEXT'];
  });
  afterEach(() => {
    process.env = { ...saved };
    rmSync(dir, { recursive: true, force: true });
  });

  it('is as before when the quickstart is gone', () => {
    const before = { current: 'work', contexts: { home: endpoint, work: { ...endpoint, controller: 'w:1' } } };
    configStore(undefined).save(before);
    const previous = rememberContext('quickstart', endpoint);
    expect(configStore(undefined).load().current).toBe('quickstart');
    expect(rememberContext('quickstart', endpoint)).toBeUndefined(); // a second run
    forgetContext('quickstart', previous);
    expect(configStore(undefined).load()).toEqual(before);
  });

  it('is not there when it was not there', () => {
    forgetContext('quickstart', rememberContext('quickstart', endpoint));
    expect(existsSync(join(dir, 'berth'))).toBe(false);
  });

  it('keeps a context that was chosen in the meantime', () => {
    configStore(undefined).save({ current: 'work', contexts: { work: endpoint, home: endpoint } });
    const previous = rememberContext('quickstart', endpoint);
    configStore(undefined).save({ ...configStore(undefined).load(), current: 'home' });
    forgetContext('quickstart', previous);
    expect(configStore(undefined).load().current).toBe('home');
  });
});
