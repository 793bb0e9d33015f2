/** One command, followed from the terminal to the host it was for; and collectors that are dead or silent, which nobody notices. */
import { existsSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { Cluster } from '../harness/cluster.ts';
import { Collector } from '../harness/collector.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { eventually } from '../harness/processes.ts';

let c: Cluster;
let collector: Collector;
const START = [
  'berth vm start',
  'VmService.StartVm',
  'job vm.start',
  'step vm.start boot',
  'agent DomainService/StartDomain',
  'agent StartDomain',
] as const;

beforeAll(async () => {
  collector = await Collector.start();
  const tracing = `tracing:\n  endpoint: ${collector.url}\n`;
  c = await Cluster.start('127.0.0.1', { config: tracing });
  await c.addSimulated('h1', undefined, {}, tracing);
  await c.waitUp('h1');
  writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
  await c.ok('image', 'import', join(c.dir, 'base.img'));
  await c.ok('vm', 'clone', 'base', 'web', '--memory', '64MiB');
}, 120_000);
afterAll(async () => {
  await c?.stop();
  await collector?.stop();
});

const traced = (endpoint: string, ...args: string[]) =>
  c.berthWith({ env: { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } }, ...args);

it('shows a command as one trace, from what was typed to what the host did', async () => {
  expect((await traced(collector.url, 'vm', 'start', 'web')).code).toBe(0);
  const path = await eventually('the whole path', async () => {
    const found = collector.path(...START);
    if (found.length < START.length) throw new Error(JSON.stringify(collector.spans.map((s) => s.name)));
    return found;
  });
  expect(path.map((s) => s.service)).toEqual([
    ...['berth', 'berth-controller', 'berth-controller', 'berth-controller', 'berth-controller', 'berth-agent'],
  ]);
  expect(new Set(path.map((s) => s.traceId)).size).toBe(1);
  for (const s of path) expect(BigInt(s.endTimeUnixNano) >= BigInt(s.startTimeUnixNano)).toBe(true);
});

it('is part of a trace that is under way already, when it is told of it', async () => {
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, TRACEPARENT: `00-${traceId}-b7ad6b7169203331-01` };
  expect((await c.berthWith({ env }, 'vm', 'stop', 'web', '--force')).code).toBe(0);
  await eventually('the job is in it', async () => {
    const names = collector.spans.filter((s) => s.traceId === traceId).map((s) => s.name);
    return ['berth vm stop', 'VmService.StopVm', 'job vm.stop'].every((n) => names.includes(n)) || undefined;
  });
});

it('goes on in the trace of the command after the controller was killed', async () => {
  c.agents.get('h1')?.signal('SIGSTOP');
  let traceId: string | undefined;
  try {
    collector.spans.splice(0);
    expect((await traced(collector.url, 'vm', 'start', 'web', '--no-wait')).code).toBe(0);
    const call = () => collector.spans.find((s) => s.name === 'VmService.StartVm');
    traceId = await eventually('the call is told', async () => call()?.traceId);
    await c.controller.restart('SIGKILL');
  } finally {
    c.agents.get('h1')?.signal('SIGCONT');
  }
  const names = () => collector.spans.filter((s) => s.traceId === traceId).map((s) => s.name);
  await eventually('the end of the job', async () => names().includes('job vm.start') || undefined, 60_000);
  await eventually('the whole path', async () => collector.path(...START).length === START.length || undefined);
  expect(collector.path(...START).every((s) => s.traceId === traceId)).toBe(true);
  await c.ok('vm', 'stop', 'web', '--force');
});

it('says in the span what went wrong, and begins no trace for those who only look', async () => {
  const before = collector.spans.length;
  expect((await traced(collector.url, 'vm', 'start', 'nobody')).code).toBe(3);
  await c.ok('vm', 'list');
  await eventually(
    'it is told',
    async () =>
      collector.spans.some((s) => s.name === 'VmService.StartVm' && s.status.message?.includes('nobody')) || undefined,
  );
  expect(collector.spans.slice(before).some((s) => s.name === 'VmService.ListVms')).toBe(false);
});

it('finds a collector by its name, and does not wait for a name that nobody answers for', async () => {
  const getent = join(c.dir, 'getent');
  const by = (script: string) => {
    writeFileSync(getent, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const endpoint = `http://collector.test:${new URL(collector.url).port}`;
    return { PATH: `${c.dir}:${process.env['PATH']}`, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint };
  };
  await eventually('it is there in time', async () => {
    collector.spans.splice(0);
    expect((await c.berthWith({ env: by('echo 127.0.0.1 STREAM') }, 'vm', 'list')).code).toBe(0);
    return collector.spans.some((s) => s.name === 'berth vm list') || undefined;
  });
  const asked = join(c.dir, 'asked');
  const env = by(`echo yes >${asked}; exec sleep 60`);
  const began = systemClock.monotonic();
  expect((await c.berthWith({ env }, 'vm', 'list')).code).toBe(0);
  expect(systemClock.monotonic() - began).toBeLessThan(30_000);
  expect(existsSync(asked)).toBe(true);
});

it('works the same when the collector dies or says nothing, and a command does not wait for it', async () => {
  await collector.stop();
  const silent: Server = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(Number(new URL(collector.url).port), '127.0.0.1', resolve));
  try {
    for (const endpoint of [collector.url, 'http://127.0.0.1:1', 'http://192.0.2.1:4318', 'nonsense']) {
      const said = await traced(endpoint, 'vm', 'start', 'web');
      expect(said.code, said.err).toBe(0);
      expect((await traced(endpoint, 'vm', 'stop', 'web', '--force')).code).toBe(0);
    }
    expect((await traced('nonsense', 'vm', 'list')).err).toMatch(/^berth: this command is not traced: /);
  } finally {
    silent.close();
  }
  expect(c.controller.running).toBe(true);
});
