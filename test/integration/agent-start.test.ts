/** How the real agent program starts, and what it says when it can't: one line, and an exit code that tells what kind. */
import { createServer, type Server } from 'node:net';
import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { prepareIdentityDir, saveIdentity } from '@berth/agent/enroll/identity-store.ts';
import { storedIdentity } from '@berth/agent/testing/identity.ts';
import { call, clientsFor } from '@berth/agent/testing/world.ts';
import { makeCa, type TestCa } from '../harness/pki.ts';
import { freePort } from '../harness/cluster.ts';
import { Daemon, eventually, PROGRAMS, run, temporaryDirectory } from '../harness/processes.ts';

const INSTALLATION = 'installation-1';
let dir: string;
let ca: TestCa;
let ports: { listen: number; peerListen: number };
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  const temporary = temporaryDirectory();
  cleanups.push(temporary.remove);
  dir = temporary.path;
  ca = await makeCa();
  ports = { listen: await freePort('127.0.0.1'), peerListen: await freePort('127.0.0.1') };
});
afterEach(async () => {
  for (const f of cleanups.splice(0).reverse()) await f();
});

/** The configuration file of an agent on `dir`/`name`. */
function configure(name = 'data', more = ''): string {
  const file = join(dir, `${name}.yaml`);
  const listen = `listen: 127.0.0.1:${ports.listen}\npeerListen: 127.0.0.1:${ports.peerListen}\n`;
  writeFileSync(file, `dataDir: ${join(dir, name)}\n${listen}${more}`);
  return file;
}

async function enrolled(name = 'data'): Promise<void> {
  const dataDir = join(dir, name);
  const [control, transfer] = [await ca.host('host-1'), await ca.transfer('host-1')];
  await prepareIdentityDir(dataDir);
  await saveIdentity(dataDir, storedIdentity({ hostId: 'host-1', installationId: INSTALLATION, control, transfer }));
}

async function occupy(port: number): Promise<void> {
  const server: Server = createServer().listen(port, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  cleanups.push(() => server.close());
}

/** One line that begins with the program's name, and no trace of a stack. */
async function refused(args: readonly string[], code: number): Promise<string> {
  const r = await run(PROGRAMS.agent, args, { input: '' });
  const lines = r.err.split('\n').filter((l) => l !== '' && !l.startsWith('{'));
  expect([r.code, lines.length, r.err.includes('    at ')], r.err).toEqual([code, 1, false]);
  return lines[0] ?? '';
}

describe('an agent that cannot start says why in one line', () => {
  it('without an identity', async () => {
    expect(await refused(['run', '--simulate', '--config', configure()], 4)).toMatch(/not enrolled.*berth host add/);
  });

  it.each([
    ['run', 4],
    ['enroll', 2],
  ])('%s with a data directory that is a file', async (verb, code) => {
    writeFileSync(join(dir, 'data'), '');
    expect(await refused([verb, '--config', configure()], code)).toMatch(/^berth-agent: /);
  });

  it('with a key that cannot be read', async () => {
    await enrolled();
    await mkdir(join(dir, 'other/identity/key.pem'), { recursive: true });
    expect(await refused(['run', '--simulate', '--config', configure('other')], 4)).toMatch(/cannot be used: EISDIR/);
  });

  it('with notes of operations that cannot be read', async () => {
    await enrolled();
    mkdirSync(join(dir, 'data/operations/ledger.jsonl'), { recursive: true });
    expect(await refused(['run', '--simulate', '--config', configure()], 4)).toMatch(/notes of operations: EISDIR/);
  });

  it.each(['listen', 'peerListen'] as const)('when the port of %s is taken', async (which) => {
    await enrolled();
    await occupy(ports[which]);
    expect(await refused(['run', '--simulate', '--config', configure()], 4)).toMatch(
      new RegExp(`cannot listen.* 127.0.0.1:${ports[which]}.*EADDRINUSE`),
    );
  });

  it('when another agent runs on its data directory, and starts when that was killed', async () => {
    await enrolled();
    const first = new Daemon(PROGRAMS.agent, ['run', '--simulate', '--config', configure()]);
    cleanups.push(() => first.end('SIGKILL'));
    first.start();
    await eventually('the agent is up', async () => first.output.includes('the agent is up'));
    ports = { listen: await freePort('127.0.0.1'), peerListen: await freePort('127.0.0.1') };
    const config = configure();
    const words = await refused(['run', '--simulate', '--config', config], 4);
    expect(words).toContain(`another agent (process ${first.pid}) runs on ${join(dir, 'data')}`);
    await first.end('SIGKILL');
    const second = new Daemon(PROGRAMS.agent, ['run', '--simulate', '--config', config]);
    cleanups.push(() => second.end('SIGKILL'));
    second.start();
    await eventually('the second agent is up', async () => second.output.includes('the agent is up'));
  });

  it('with mistakes in its configuration, or none at all', async () => {
    expect(await refused(['run', '--config', configure('data', 'colour: red\n')], 2)).toContain('colour');
    expect(await refused(['check', '--config', join(dir, 'absent.yaml')], 2)).toContain('absent.yaml');
    writeFileSync(join(dir, 'broken.yaml'), 'a: [');
    expect(await refused(['enroll', '--config', join(dir, 'broken.yaml')], 2)).toContain('is not YAML');
  });
});

describe.skipIf(process.getuid?.() !== 0)('an agent on a host without libvirt (needs root)', () => {
  const absent = (): string => `libvirtSocket: ${join(dir, 'no-libvirt')}\n`;

  it('starts, and reports what is missing', async () => {
    await enrolled();
    const agent = new Daemon(PROGRAMS.agent, ['run', '--config', configure('data', absent())]);
    cleanups.push(() => agent.end('SIGKILL'));
    agent.start();
    await eventually('the agent is up', async () => agent.output.includes('the agent is up'));
    const controller = await ca.issue({ uri: `urn:berth:controller:${INSTALLATION}` });
    const clients = clientsFor(ports.listen, { ...controller, caPem: ca.caPem });
    cleanups.push(() => clients.close());
    const { checks } = await call(clients.host, clients.host.getHost, {});
    expect(checks.find((c) => c.name === 'libvirt')).toMatchObject({ ok: false, fatal: true });
  });

  it('is told so by `check`, which leaves the work of a running agent alone', async () => {
    const staged = join(dir, 'data/staging/import-x');
    await mkdir(staged, { recursive: true });
    const r = await run(PROGRAMS.agent, ['check', '--config', configure('data', absent())]);
    expect(r.code).toBe(1);
    expect(r.out).toMatch(/^✘ libvirt +no libvirt socket/m);
    expect(await readdir(join(dir, 'data/staging'))).toEqual(['import-x']);
  });
});
