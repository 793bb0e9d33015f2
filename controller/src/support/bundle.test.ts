/** Parts of a support bundle: hosts that are away or never answer are noted and not waited for, and nothing is as long as it likes. */
import { expect, it } from 'vitest';
import { gunzipSync } from 'node:zlib';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { ByteReader } from '../backup/byte-reader.ts';
import { readTar } from '../backup/tar.ts';
import { checkConfig } from '../config.ts';
import type { AgentClient } from '../hosts/agent-client.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { memoryState } from '../hosts/testing.ts';
import { aHost } from '../state/samples.ts';
import { Support } from './bundle.ts';
import { HOST_DEADLINE_MS } from './host-part.ts';
import { plainName } from './part.ts';

const never = () => new Promise<never>(() => undefined);
const says = (text: string): AgentClient['logs'] => ({
  async *read() {
    yield { atMs: 0, text };
  },
  configuration: async () => 'listen: 0.0.0.0:7444\n',
});
const silent: AgentClient['logs'] = {
  async *read() {
    await never();
  },
  configuration: never,
};
const machine: AgentClient['machine'] = {
  check: async () => ({ checks: [], clockMs: 1 }),
  inventory: never,
  baselineCpu: never,
  tuning: never,
};

async function world(agents: Record<string, AgentClient['logs'] | undefined>) {
  const state = await memoryState();
  const clock = new SimClock();
  const names = new Map<string, string>();
  for (const name of Object.keys(agents)) {
    const host = aHost({ name });
    names.set(host.id, name);
    await state.update((tx) => tx.hosts.put(host));
  }
  const hosts = {
    status: (hostId: string) => ({
      ...{ hostId, state: 'up', reason: '', imageDigests: new Set(), volumeIds: new Set(), complete: new Set() },
      ...{ bridges: [], foreign: [], facts: undefined },
    }),
    has: () => undefined,
    agent(hostId: string) {
      const logs = agents[names.get(hostId) ?? ''];
      if (logs === undefined) throw new ClusterError('HOST_UNREACHABLE', 'it is away');
      return { logs, machine };
    },
  } as unknown as Hosts;
  const about = { version: '1', startedAtMs: 0 };
  const config = checkConfig({}, 'test');
  const support = new Support({ state, hosts, clock, config, about, jobs: { list: async () => [] }, ring: undefined });
  return { clock, support };
}

async function take(support: Support, signal = new AbortController().signal): Promise<Map<string, string>> {
  const pieces: Uint8Array[] = [];
  for await (const p of support.bundle({ host: '', selector: '', logLines: 0 }, 'admin', signal)) pieces.push(p);
  const files = new Map<string, string>();
  const tar = gunzipSync(Buffer.concat(pieces));
  const reader = new ByteReader(
    (async function* () {
      yield tar;
    })(),
  );
  await readTar(reader, async ({ path }, data) => {
    const all: Uint8Array[] = [];
    for await (const d of data) all.push(d);
    files.set(path.replace('berth-support/', ''), Buffer.concat(all).toString());
  });
  return files;
}
const missingOf = (files: Map<string, string>) =>
  (JSON.parse(files.get('manifest.json') ?? '') as { missing: { path: string; why: string }[] }).missing;

it('a host that never answers is given up after its deadline, and what others said is there', async () => {
  const { clock, support } = await world({ h1: says('hello'), h2: silent, h3: undefined });
  const taking = take(support);
  await clock.advance(HOST_DEADLINE_MS + 1);
  const files = await taking;
  expect(files.get('hosts/h1/agent.log')).toBe('- hello\n');
  expect([...files.keys()]).toEqual(expect.arrayContaining(['hosts/h2/status.json', 'hosts/h3/status.json']));
  const missing = missingOf(files);
  expect(missing).toContainEqual({ path: 'hosts/h3', why: 'it is away' });
  expect(missing).toContainEqual({
    path: 'hosts/h2/agent.log',
    why: `host h2 did not answer within ${HOST_DEADLINE_MS / 1000} s`,
  });
  expect(missing.map((m) => m.path)).toContain('hosts/h1/hardware.json');
});

it('a log that does not end is cut, and its secrets are taken out', async () => {
  const endless: AgentClient['logs'] = {
    async *read() {
      for (;;) yield { atMs: 0, text: `password=hunter2 ${'x'.repeat(8_000)}` };
    },
    configuration: async () => '',
  };
  const { clock, support } = await world({ h1: endless });
  const taking = take(support);
  await clock.advance(HOST_DEADLINE_MS + 1);
  const log = (await taking).get('hosts/h1/agent.log') ?? '';
  expect(log.endsWith('… cut off here\n')).toBe(true);
  expect(log.length).toBeLessThan(1_100_000);
  expect(log).not.toContain('hunter2');
});

it('only one is read at a time, unless its reader has gone or has slept for long', async () => {
  const { clock, support } = await world({});
  const wanted = { host: '', selector: '', logLines: 0 };
  const first = support.bundle(wanted, 'ann', new AbortController().signal);
  await first.next();
  await expect(take(support)).rejects.toMatchObject({ reason: 'RESOURCE_BUSY' });
  await clock.advance(600_001);
  await take(support);
  await first.return(undefined);
  const second = support.bundle(wanted, 'ann', new AbortController().signal);
  await second.next();
  await second.return(undefined);
  expect(missingOf(await take(support))).toHaveLength(1);
});

it('names are made fit for an archive, and stay different', () => {
  expect(plainName('web-1', 30)).toBe('web-1');
  const odd = ['../../etc', 'ü', 'ö', 'x'.repeat(64), 'x'.repeat(65)].map((n) => plainName(n, 30));
  expect(new Set(odd).size).toBe(5);
  for (const n of odd) expect(n).toMatch(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,29}$/);
});
