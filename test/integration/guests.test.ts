/** Guest agents with real processes and simulated guests: one that is well, one that hangs, one that lies, and one without. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { eventually, type Said } from '../harness/processes.ts';

interface Vm {
  readonly name: string;
  readonly guest?: { readonly agent: number; readonly hostname: string };
}

let c: Cluster;
const AGENT = '#cloud-config\npackages: [qemu-guest-agent]\n';
const MANNERS = { well: AGENT, hangs: `${AGENT}# berth-sim: hangs\n`, lies: `${AGENT}# berth-sim: lies\n`, none: '' };

beforeAll(async () => {
  c = await Cluster.start('127.0.0.1', { config: 'guestExec: allowed\n' });
  await c.addSimulated('h1');
  await c.waitUp('h1');
  writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
  await c.ok('image', 'import', join(c.dir, 'base.img'));
  for (const [name, userData] of Object.entries(MANNERS)) {
    writeFileSync(join(c.dir, name), userData);
    await c.ok('vm', 'clone', 'base', name, '--memory', '64MiB', '--user-data', join(c.dir, name), '--start');
  }
  for (const [name, agent] of [
    ['well', 1],
    ['lies', 1],
    ['none', 2],
    ['hangs', 3],
  ] as const)
    await eventually(`what ${name} says is known`, async () => (await vm(name))?.guest?.agent === agent, 60_000);
});
afterAll(() => c?.stop());

const vm = async (name: string) => (await c.json<Vm[]>('vm', 'list')).find((v) => v.name === name);
const exec = (name: string, ...words: string[]) => c.berth('vm', 'exec', name, '--', ...words);
/** As somebody with another role. */
async function as(role: string): Promise<(...words: string[]) => Promise<Said>> {
  const file = join(c.dir, `${role}.yaml`);
  await c.ok('user', 'add', role, '--role', role);
  writeFileSync(join(c.dir, `${role}.token`), await c.ok('token', 'create', role));
  const env = { BERTH_CONFIG: file };
  await c.berthWith({ env }, 'login', '--token-file', join(c.dir, `${role}.token`));
  return (...words) => c.berthWith({ env, input: 'correct horse\n' }, ...words);
}

it('shows the address that a guest reports, and what it is', async () => {
  expect(await c.ok('vm', 'list')).toMatch(/^well +running .* 10\.77\.9\.9 /m);
  const shown = await c.ok('vm', 'show', 'well');
  expect(shown).toMatch(/^guest agent: +connected\nguest name: +well\nguest system: +Simulated guest 1, kernel 0\.1$/m);
  expect(shown).toMatch(/^mount \/: +256 MiB of 1 GiB used \(25 %\), ext4$/m);
  expect(shown).not.toContain('127.0.0.1');
  expect(await c.ok('vm', 'guest-info', 'well')).toMatch(/^clock: +as its host$/m);
});

it('what a guest lies reaches nobody as it is', async () => {
  const shown =
    (await c.ok('vm', 'show', 'lies')) + (await c.ok('vm', 'list', '-o', 'json')) + (await c.ok('vm', 'list'));
  expect(shown).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
  expect(shown).not.toMatch(/reboot|^root#/m);
  expect(shown.length).toBeLessThan(60_000);
});

it('one that hangs or has no agent ends each verb with what to do, and holds up nobody', async () => {
  const verbs = [['guest-info'], ['sync-time'], ['freeze'], ['thaw'], ['set-password'], ['exec', '/bin/echo']] as const;
  for (const [verb, ...rest] of verbs) {
    const hangs = await c.berthWith({ input: 'x\n' }, 'vm', verb, 'hangs', ...rest);
    expect([verb, hangs.code, hangs.err]).toEqual([
      verb,
      1,
      expect.stringMatching(/guest agent of vm hangs does not answer/),
    ]);
    const none = await c.berthWith({ input: 'x\n' }, 'vm', verb, 'none', ...rest);
    expect([verb, none.code, none.err]).toEqual([
      verb,
      4,
      expect.stringMatching(/no guest agent answers in vm none\. .*apt install/),
    ]);
  }
  const both = exec('hangs', '/bin/echo');
  expect(await exec('well', '/bin/echo', 'here')).toMatchObject({ code: 0, out: 'here' });
  await both;
});

it('runs a program: its words, input, exit code; two at once; nothing of them is written down', async () => {
  const input = 'given hush\n';
  expect(await c.berthWith({ input }, 'vm', 'exec', 'well', '-i', '--', '/bin/cat')).toMatchObject({
    code: 0,
    out: 'given hush',
  });
  expect(await exec('well', '/bin/false')).toMatchObject({ code: 1, err: 'no' });
  const both = await Promise.all([exec('well', '/bin/echo', 'hidden1'), exec('well', '/bin/echo', 'hidden2')]);
  expect(both.map((r) => r.out)).toEqual(['hidden1', 'hidden2']);
  expect((await exec('well', '/bin/yes')).err).toMatch(/printed more than is handed on/);
  expect((await c.berth('vm', 'exec', 'well', '--timeout', '1s', '--', '/bin/sleep')).err).toMatch(
    /goes on there as process/,
  );
  expect((await c.berth('vm', 'exec', 'well', '--timeout', '1ms', '--', '/bin/echo')).code).toBe(2);
  const told = (await c.ok('audit', 'list', '-o', 'json')) + (await c.ok('event', 'list', '-o', 'json'));
  expect(told).toContain('vm well is asked to run /bin/echo in its guest');
  expect(told).toMatch(/GuestService\.ExecInGuest/);
  expect(told).not.toMatch(/hidden|hush/);
});

it('takes the role that each thing needs', async () => {
  const [viewer, operator] = [await as('viewer'), await as('operator')];
  expect((await viewer('vm', 'guest-info', 'well')).code).toBe(0);
  for (const verb of ['sync-time', 'freeze', 'thaw', 'set-password'])
    expect((await viewer('vm', verb, 'well')).code).toBe(6);
  expect(await operator('vm', 'set-password', 'well')).toMatchObject({ code: 0, out: 'vm well: password of root set' });
  expect(await operator('vm', 'exec', 'well', '/bin/echo')).toMatchObject({
    code: 6,
    err: expect.stringContaining('may not'),
  });
  const told = await c.ok('audit', 'list', '-o', 'json');
  expect(told).toContain('GuestService.SetGuestPassword');
  expect(told).not.toContain('horse');
  const disk = readFileSync(join(c.dataDir, 'berth.db'), 'latin1');
  expect(disk).not.toContain('correct horse');
});

it('freezes and thaws, says so in the list, and two at once are one', async () => {
  const both = await Promise.all([c.berth('vm', 'freeze', 'well'), c.berth('vm', 'freeze', 'well')]);
  expect(both.map((r) => r.code).sort()).toEqual([0, 4]);
  await eventually('it is shown', async () => (await c.ok('vm', 'list')).includes('its file systems are frozen'));
  expect((await exec('well', '/bin/echo')).err).toMatch(/are frozen.* berth vm thaw well/);
  expect(await c.ok('vm', 'thaw', 'well')).toMatch(/^vm well thawed \(1 file system\)/);
  expect(await c.ok('vm', 'thaw', 'well')).toMatch(/^vm well was not frozen/);
  await eventually('it is shown', async () => !(await c.ok('vm', 'list')).includes('frozen'));
  expect((await c.json('alarm', 'list')).filter((a) => a['kind'] === 'vm-frozen')).toEqual([]);
});

it('a reboot waits for the guest; by its agent, and by its button', async () => {
  expect(await c.ok('vm', 'reboot', 'well', '--mode', 'agent')).toMatch(/^vm well rebooted on h1 /);
  expect(await c.ok('vm', 'reboot', 'none')).toMatch(/^vm none rebooted on h1 /);
  expect((await c.berth('vm', 'reboot', 'none', '--mode', 'agent')).err).toMatch(/no guest agent answers in vm none/);
  expect(await c.ok('vm', 'stop', 'hangs', '--timeout', '60s', '--then', 'save')).toMatch(/^vm hangs (stopped|saved)/);
  for (const bad of [
    ['--force', '--then', 'save'],
    ['--then-force', '--then', 'save'],
    ['--mode', 'magic'],
    ['--force', '--mode', 'acpi'],
  ])
    expect((await c.berth('vm', 'stop', 'well', ...bad)).code).toBe(2);
});

it('programs are not run unless the configuration allows it, which it does not by itself', async () => {
  const other = await Cluster.start();
  try {
    expect(await other.berth('vm', 'exec', 'any', '/bin/echo')).toMatchObject({
      code: 6,
      err: expect.stringMatching(/programs may not be run in guests: .*guestExec: denied/),
    });
  } finally {
    await other.stop();
  }
});
