import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Log } from '@berth/shared/log/log.ts';
import { systemClock, type Clock } from '@berth/shared/runtime/clock.ts';
import { makeCa, type TestCa } from '@berth/test/harness/pki.ts';
import { saveIdentity, prepareIdentityDir, type StoredIdentity } from './identity-store.ts';
import { openIdentity, type OpenIdentity } from './open-identity.ts';

let dir: string;
let ca: TestCa;
let identity: OpenIdentity;
/** What waits for its time, which comes when the test says so. */
let next: (() => void) | undefined;
const clock: Clock = {
  ...systemClock,
  after: (_, fn) => {
    next = fn;
    return { cancel: () => (next = undefined) };
  },
};
const said: string[] = [];
const note =
  (level: string) =>
  (_: unknown, message = '') =>
    void said.push(`${level} ${message || String(_)}`);
const log = { error: note('error'), info: note('info'), warn: note('warn') } as unknown as Log;

const stored = async (hostId: string): Promise<StoredIdentity> => {
  const { certPem, keyPem } = await ca.host(hostId);
  const names = { hostId, hostName: hostId, installationId: 'i', tokenId: 't' };
  const trust = { control: [ca.caPem], transfer: [], revoked: [] };
  return { version: 2, ...names, control: { certPem, keyPem }, pending: {}, trust };
};

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-identity-'));
  ca = await makeCa();
  said.length = 0;
  await prepareIdentityDir(dir);
  const first = await stored('host-1');
  await saveIdentity(dir, first);
  identity = await openIdentity(first, { dataDir: dir, clock, log });
});
afterEach(async () => {
  identity.close();
  await rm(dir, { recursive: true, force: true });
});

/** Ten looks at the file, each with its reads and words done. */
async function looks(): Promise<void> {
  for (let n = 0; n < 10; n++) {
    const look = next;
    next = undefined;
    look?.();
    await expect.poll(() => next).toBeDefined();
  }
}

it('an enrolment as another host under a running agent is told once, not at every look', async () => {
  await saveIdentity(dir, await stored('host-2'));
  await looks();
  expect(said).toEqual(['error the identity on disk cannot be taken over']);
  expect(identity.hostId).toBe('host-1');
});

it('another such enrolment is told of again, and one as the same host is taken over', async () => {
  await saveIdentity(dir, await stored('host-2'));
  await looks();
  await saveIdentity(dir, await stored('host-3'));
  await looks();
  const again = await stored('host-1');
  await saveIdentity(dir, again);
  await looks();
  expect(said).toEqual([
    'error the identity on disk cannot be taken over',
    'error the identity on disk cannot be taken over',
    'info this host was enrolled again; its new certificates are in use',
  ]);
  expect(identity.pair('control')).toEqual(again.control);
});
