/** Names are asked for by another process, which goes when nobody waits for it. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { addressesOf } from './name-lookup.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'berth-names-'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

function getent(script: string): void {
  writeFileSync(join(dir, 'getent'), `#!/bin/sh\n${script}\n`);
  chmodSync(join(dir, 'getent'), 0o755);
  vi.stubEnv('PATH', `${dir}:${process.env['PATH']}`);
}

const never = new AbortController().signal;

it('tells each address once', async () => {
  getent(`[ "$*" = "ahosts -- c.test" ] && printf '::1 STREAM c.test\\n::1 DGRAM\\n10.0.0.1 STREAM\\n'`);
  expect(await addressesOf('c.test', never)).toEqual(['::1', '10.0.0.1']);
});

it('tells none of a name that has none', async () => {
  getent('exit 2');
  expect(await addressesOf('c.test', never)).toEqual([]);
});

it('kills who asks a silent name server when nobody waits any more', async () => {
  getent(`echo $$ >${dir}/pid; exec sleep 60`);
  const over = new AbortController();
  const found = addressesOf('c.test', over.signal);
  const pid = await vi.waitFor(
    () => {
      if (!existsSync(join(dir, 'pid'))) throw new Error('not started yet');
      const n = Number(readFileSync(join(dir, 'pid'), 'utf8'));
      expect(n).toBeGreaterThan(0);
      return n;
    },
    { timeout: 20_000 },
  );
  over.abort();
  expect(await found).toEqual([]);
  await vi.waitFor(() => expect(() => process.kill(pid, 0)).toThrow(), { timeout: 20_000 });
});
