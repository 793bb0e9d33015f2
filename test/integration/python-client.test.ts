/** A client that owes Berth nothing but the protos: made with Debian's protoc and grpcio, it does the main job in Python. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { findRoot } from '@berth/deploy/setup/root.js';
import { decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';

/** By path: a protoc of npm's, or another Python, may come first in PATH. */
const PYTHON = '/usr/bin/python3';
const PROTOC = '/usr/bin/protoc';
const PLUGIN = '/usr/bin/grpc_python_plugin';
const FILES = readdirSync(join(findRoot(), 'proto/berth/v1')).map((file) => `berth/v1/${file}`);
const PROGRAM = join(findRoot(), 'test/integration/python/main_job.py');

let c: Cluster;
let env: Record<string, string>;

beforeAll(async () => {
  c = await Cluster.start();
  const generated = join(c.dir, 'python');
  mkdirSync(generated);
  await execa(
    PROTOC,
    [
      `--plugin=protoc-gen-grpc_python=${PLUGIN}`,
      `--python_out=${generated}`,
      `--grpc_python_out=${generated}`,
      ...FILES,
    ],
    { cwd: join(findRoot(), 'proto') },
  );
  const tokenFile = join(c.dir, 'token');
  writeFileSync(tokenFile, decodeLoginLine(readFileSync(join(c.dataDir, 'admin-token'), 'utf8')).token);
  env = {
    ...{ PYTHONPATH: generated, PYTHONDONTWRITEBYTECODE: '1', BERTH_CONTROLLER: c.address },
    ...{ BERTH_CA_FILE: join(c.dataDir, 'trust/ca.pem'), BERTH_TOKEN_FILE: tokenFile },
  };
  writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
});
afterAll(() => c?.stop());

async function python(...args: readonly string[]): Promise<string> {
  const r = await execa(PYTHON, [PROGRAM, ...args], { env, cwd: c.dir, reject: false, timeout: 120_000 });
  if (r.exitCode !== 0) throw new Error(`${args.join(' ')}: ${r.stderr}`);
  return r.stdout;
}

it('adds hosts that enrol with its tokens', async () => {
  for (const name of ['h1', 'h2']) await c.addSimulated(name, (host, address) => python('add-host', host, address));
  await c.waitUp('h1', 'h2');
}, 180_000);

it('does the main job, and understands refusals and events', async () => {
  expect((await python('main-job', join(c.dir, 'base.img'))).split('\n')).toEqual([
    'host h1 HOST_STATE_UP python',
    'host h2 HOST_STATE_UP python',
    'sent True',
    'done image.import base',
    'done vm.clone snake',
    'done vm.start snake',
    `vm snake VM_STATE_RUNNING ${64 * 2 ** 20}`,
    'refused FAILED_PRECONDITION BAD_STATE never',
    'done vm.stop snake',
    'done vm.delete snake',
    'done image.delete base',
    'left 0 0',
    'event vm snake',
  ]);
  await c.quiet();
}, 180_000);
