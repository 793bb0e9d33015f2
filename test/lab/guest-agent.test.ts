/**
 * Guest agents with real libvirt, QEMU and qemu-ga: what a guest says is shown, what is asked of it shows in the guest, and one
 * whose QEMU or agent hangs holds up nobody else.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

interface Vm {
  readonly name: string;
  readonly state: string;
  readonly stateReason: string;
  readonly cpuUsed: number;
  readonly guest?: { readonly agent: number; readonly hostname: string; readonly frozenAtMs: number };
}

const CONNECTED = 1;
const SOON_MS = 120_000;

describeLab('guest agents', { hosts: ['h1'] }, (lab) => {
  let c: Cluster;
  let deaf: Promise<string>;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()), { config: 'guestExec: allowed\n' });
    await c.addLabHost(lab().host('h1'));
    await c.waitUp('h1');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base');
    await c.ok('vm', 'clone', 'base', 'web', '--memory', '128MiB', '--start', '--ip', '10.77.0.11/24');
    await c.ok('vm', 'clone', 'base', 'db', 'ice', '--memory', '128MiB', '--start');
    await c.ok('vm', 'create', 'blank', '--memory', '64MiB', '--disk', '8MiB');
    await c.ok('vm', 'start', 'blank');
    await Promise.all(['web', 'db', 'ice'].map(connected));
    // waits for its deadline while other tests run
    deaf = c.ok('vm', 'reboot', 'blank', '--timeout', '15s', '--then', 'reset');
  }, 240_000);
  afterAll(() => c?.stop());

  const vm = async (name: string) => (await c.json<Vm[]>('vm', 'list')).find((v) => v.name === name);
  const connected = (name: string) =>
    eventually(
      `the agent of ${name} answers`,
      async () => {
        const guest = (await vm(name))?.guest;
        return guest?.agent === CONNECTED && guest.hostname === name;
      },
      SOON_MS,
    );
  const exec = (name: string, ...words: string[]) => c.berth('vm', 'exec', name, '--', ...words);
  const virsh = (...args: string[]) => lab().host('h1').virsh(args);

  it('says what the guest is: addresses, system, file systems, name', async () => {
    expect(await c.ok('vm', 'list')).toMatch(/^web +running +h1 .* 10\.77\.0\.11 /m);
    const shown = await c.ok('vm', 'show', 'web');
    expect(shown).toMatch(/^guest agent: +connected$/m);
    expect(shown).toMatch(/^guest system: +Berth guest 1, kernel \d+\.\d+/m);
    expect(shown).toMatch(/^address \w+: +10\.77\.0\.11\/24/m);
    expect(shown).toMatch(/^mount \/: +\d.* of \d.* used \(\d+ %\), ext4$/m);
    const asked = await c.ok('vm', 'guest-info', 'web', '-o', 'json');
    expect(JSON.parse(asked)).toMatchObject({ vm: 'web', agent: 'connected', hostname: 'web' });
  });

  it('runs programs, with their input, output and exit code', async () => {
    expect(await exec('web', '/bin/hostname')).toMatchObject({ code: 0, out: 'web' });
    const shell = await exec('web', '/bin/sh', '-c', 'echo out; echo err >&2; exit 42');
    expect(shell).toMatchObject({ code: 42, out: 'out', err: 'err' });
    expect(await c.berthWith({ input: 'given\n' }, 'vm', 'exec', 'web', '-i', '--', '/bin/cat')).toMatchObject({
      code: 0,
      out: 'given',
    });
    expect((await exec('web', '/bin/nothing')).err).toMatch(/guest agent of vm web could not run \/bin\/nothing: /);
    const slow = await c.berth('vm', 'exec', 'web', '--timeout', '1s', '--', '/bin/sleep', '600');
    expect(slow).toMatchObject({
      code: 1,
      err: expect.stringMatching(/did not end within 1 s: it goes on there as process \d+/),
    });
  });

  it('sets a password, which the guest has and nobody else', async () => {
    const set = await c.berthWith({ input: 'correct horse\n' }, 'vm', 'set-password', 'web');
    expect(set).toMatchObject({ code: 0, out: 'vm web: password of root set' });
    expect((await exec('web', '/bin/cat', '/etc/shadow')).out).toMatch(/^root:\$/m);
    const told = (await c.ok('audit', 'list', '-o', 'json')) + (await c.ok('event', 'list', '-o', 'json'));
    expect(told).toContain('new password of its user root');
    expect(told).not.toContain('horse');
    const { stdout } = await lab().host('h1').exec(['sh', '-c', 'grep -r horse /var/lib/berth /var/log || true']);
    expect(stdout).toBe('');
  });

  it('sets a clock that is wrong', async () => {
    await exec('db', '/bin/date', '-s', '2001-01-01 00:00:00');
    expect(await c.ok('vm', 'guest-info', 'db')).toMatch(/^clock: +\d+ d.* behind its host/m);
    expect(await c.ok('vm', 'sync-time', 'db')).toMatch(/^vm db has the time of its host; it was \d+ d.* off/);
    expect(await c.ok('vm', 'guest-info', 'db')).toMatch(/^clock: +as its host$/m);
  });

  it('freezes and thaws file systems; what is left frozen is thawed by its host, also by an agent that was killed', async () => {
    expect(await c.ok('vm', 'freeze', 'web')).toMatch(/^vm web frozen \(1 file system\) for 1 m/);
    expect((await c.berth('vm', 'guest-info', 'web')).err).toMatch(
      /file systems of vm web are frozen.* berth vm thaw web/,
    );
    await eventually('that is seen', async () =>
      /^its file systems are frozen .*berth vm thaw web$/.test((await vm('web'))?.stateReason ?? ''),
    );
    expect(await c.ok('vm', 'thaw', 'web')).toMatch(/^vm web thawed \(1 file system\)/);
    await c.ok('vm', 'freeze', 'db', '--for', '2s');
    await lab().host('h1').stopAgent('SIGKILL');
    await lab().host('h1').startAgent();
    await c.waitUp('h1');
    await eventually('db is thawed', async () => (await exec('db', '/bin/touch', '/root/thawed')).code === 0, SOON_MS);
    await eventually('that is seen', async () => (await vm('db'))?.stateReason === '');
  });

  it('shuts down and reboots through the agent, and waits for the reboot', async () => {
    await c.ok('vm', 'reboot', 'db', '--mode', 'agent');
    await c.serial('db', /the guest agent restarts[\s\S]*boots 2 /);
    await connected('db');
    await c.ok('vm', 'stop', 'db', '--mode', 'agent');
    await c.serial('db', /the guest agent shuts down/);
    expect((await vm('db'))?.state).toBe('stopped');
  });

  it('a guest whose agent hangs is waited for by nobody else, and is shut down by its power button', async () => {
    await exec('web', '/bin/sh', '-c', 'killall -STOP qemu-ga');
    const refused = await c.berth('vm', 'guest-info', 'web');
    expect(refused).toMatchObject({ code: 1, err: expect.stringMatching(/guest agent of vm web does not answer/) });
    expect(await exec('ice', '/bin/hostname')).toMatchObject({ code: 0 });
    await c.ok('vm', 'stop', 'web');
    await c.serial('web', /button pressed/);
  });

  it('a QEMU that is frozen: every verb ends with words, and the other VM, its statistics and events go on', async () => {
    await c.ok('vm', 'start', 'web');
    await connected('web');
    await lab().host('h1').kill('guest=ice,', 'SIGSTOP');
    const verbs = [['guest-info'], ['freeze'], ['suspend'], ['screenshot', join(c.dir, 'ice.png')]];
    const said = verbs.map(async ([verb = '', ...rest]) => [verb, await c.berth('vm', verb, 'ice', ...rest)] as const);
    const goesOn = async () => {
      expect(await exec('web', '/bin/hostname')).toMatchObject({ code: 0, out: 'web' });
      await virsh('suspend', 'web');
      await eventually('the event is seen', async () => (await vm('web'))?.state === 'paused');
      await virsh('resume', 'web');
      await eventually('the event is seen', async () => (await vm('web'))?.state === 'running');
      await eventually('it is measured', async () => ((await vm('web'))?.cpuUsed ?? 0) > 0, SOON_MS);
    };
    await goesOn();
    for (const [verb, r] of await Promise.all(said))
      expect([verb, r.code > 0, r.err]).toEqual([verb, true, expect.stringContaining('ice')]);
    await goesOn();
    expect(await c.ok('vm', 'stop', 'ice', '--force')).toMatch(/^vm ice stopped /);
  });

  it('a VM without an agent says so, and how to get one; a reboot that it does not hear ends with the reset button', async () => {
    const refused = await c.berth('vm', 'guest-info', 'blank');
    expect(refused).toMatchObject({
      code: 4,
      err: expect.stringMatching(/no guest agent answers in vm blank\. .*apt install/),
    });
    expect(await c.ok('vm', 'show', 'blank')).toMatch(/^guest agent: +absent \(how to get one/m);
    expect((await c.berth('vm', 'reboot', 'blank', '--mode', 'agent')).err).toMatch(
      /no guest agent answers in vm blank/,
    );
    expect(await deaf).toMatch(/^vm blank reset on h1 /);
  });
});
