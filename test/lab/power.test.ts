/** What is done to guests that run, with real libvirt and QEMU: each verb shows in the guest itself, and leaves its process alone. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually, PROGRAMS } from '../harness/processes.ts';

type Said = Awaited<ReturnType<Cluster['berth']>>;
interface Vm {
  readonly name: string;
  readonly state: string;
  readonly stateReason: string;
}

describeLab('power', { hosts: ['h1'] }, (lab) => {
  let c: Cluster;
  let frozen: Promise<{ readonly suspend: Said; readonly stop: Said }>;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    await c.addLabHost(lab().host('h1'));
    await c.waitUp('h1');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base');
    await c.ok('vm', 'clone', 'base', 'web', 'db', 'ice', '--memory', '128MiB', '--label', 'team=a', '--start');
    // waits for its deadline, and libvirt for QEMU's end, while other tests run
    await lab().host('h1').kill('guest=ice,', 'SIGSTOP');
    frozen = c.berth('vm', 'suspend', 'ice').then((suspend) => afterwards(suspend));
    await c.serial('web', /^berth-facts: .* boots 1 /m);
    await c.serial('db', /^berth-facts: .* boots 1 /m);
  }, 180_000);
  afterAll(() => c?.stop());

  const afterwards = async (suspend: Said) => ({ suspend, stop: await c.berth('vm', 'stop', 'ice', '--force') });
  const vm = async (name: string) => (await c.json<Vm[]>('vm', 'list')).find((v) => v.name === name);
  const qemu = async (name: string) => (await lab().host('h1').pids(`guest=${name},`)).join();
  const virsh = (...args: string[]) => lab().host('h1').virsh(args);
  const log = () => c.ok('vm', 'log', 'web');

  /** Types a line at the guest's shell. */
  async function type(line: string): Promise<void> {
    const console = execa(process.execPath, [PROGRAMS.berth, 'vm', 'console', 'web'], {
      env: { BERTH_CONFIG: c.configFile },
      reject: false,
    });
    let heard = '';
    console.stdout.on('data', (d: Buffer) => (heard += d.toString()));
    await eventually('the guest answers', async () => {
      console.stdin.write('\n');
      return heard.includes('web#');
    });
    console.stdin.write(`${line}\n`);
    await eventually('the guest has it', async () => heard.includes('typed'));
    console.kill('SIGINT');
    await console;
  }

  it('reboots a guest in order and resets one at once: each boots a second time in the same QEMU', async () => {
    const before = [await qemu('web'), await qemu('db')];
    expect(await c.ok('vm', 'reboot', 'web')).toMatch(/^vm web rebooted on h1 +\[ {2}OK {2}\]$/);
    expect(await c.ok('vm', 'reset', 'db')).toMatch(/^vm db reset on h1 /);
    await c.serial('web', /^berth-facts: .* boots 2 /m);
    await c.serial('db', /^berth-facts: .* boots 2 /m);
    expect([await qemu('web'), await qemu('db')]).toEqual(before);
    expect(await vm('web')).toMatchObject({ state: 'running' });
  });

  it('suspends a guest, which prints nothing until it is resumed', async () => {
    await type('(while :; do echo tick; usleep 100000; done) & echo ty""ped');
    await c.serial('web', /tick\s+tick/);
    expect(await c.ok('vm', 'suspend', 'web')).toMatch(/^vm web suspended /);
    expect(await virsh('domstate', 'web')).toBe('paused');
    const silent = await log();
    expect(await vm('web')).toMatchObject({
      state: 'paused',
      stateReason: 'suspended: go on with berth vm resume web',
    });
    expect((await c.berth('vm', 'stop', 'web')).err).toMatch(/resume it first \(berth vm resume web\), or use --force/);
    expect(await c.ok('vm', 'suspend', 'web')).toContain('is suspended already');
    expect(await log()).toBe(silent);
    expect(await c.ok('vm', 'resume', 'web')).toMatch(/^vm web runs again on h1 /);
    await eventually('it prints again', async () => (await log()).length > silent.length);
    expect(await vm('web')).toMatchObject({ state: 'running' });
  });

  it('shows what somebody does with virsh in the same words, and undoes it', async () => {
    await virsh('suspend', 'web');
    await eventually('it is seen', async () => (await vm('web'))?.state === 'paused');
    expect((await vm('web'))?.stateReason).toBe('suspended: go on with berth vm resume web');
    await c.ok('vm', 'resume', 'web');
    expect(await virsh('domstate', 'web')).toBe('running');
  });

  it('does it to all that have a label, and to nobody when none has it', async () => {
    await c.ok('vm', 'label', 'ice', 'team-');
    expect((await c.ok('vm', 'suspend', '-l', 'team=a')).split('\n').sort()).toEqual([
      'vm db  suspended                  [  OK  ]',
      'vm web suspended                  [  OK  ]',
    ]);
    expect(await c.berth('vm', 'resume', '-l', 'team=b')).toMatchObject({
      code: 0,
      err: 'No VM has labels like team=b.',
    });
    expect((await vm('db'))?.state).toBe('paused');
    expect((await c.berth('vm', 'resume', '--all')).out).toContain('vm db  runs again on h1');
  });

  it('saves a guest, which goes on where it was, in a new QEMU and without a boot', async () => {
    const [before, printed] = [await qemu('web'), (await log()).length];
    expect(await c.ok('vm', 'save', 'web')).toMatch(/^vm web saved on h1 /);
    expect(await qemu('web')).toBe('');
    expect(await vm('web')).toMatchObject({
      state: 'saved',
      stateReason: 'its memory is in a file on h1: go on with berth vm start web',
    });
    await lab().host('h1').stopAgent();
    await lab().host('h1').startAgent();
    await lab().host('h1').killLibvirt();
    await lab().host('h1').waitForLibvirt();
    await c.waitUp('h1');
    await eventually('it is still saved', async () => (await vm('web'))?.state === 'saved');
    await c.ok('vm', 'start', 'web');
    const after = (await log()).length;
    await eventually('it prints again', async () => (await log()).length > after);
    expect((await log()).slice(printed)).not.toContain('berth-facts');
    expect(await qemu('web')).not.toBe(before);
  });

  it('gives a guest an NMI, and the three keys: its kernel says so', async () => {
    expect(await c.ok('vm', 'nmi', 'db')).toMatch(/^vm db got an NMI /);
    await c.serial('db', /NMI received/);
    const before = await qemu('db');
    expect(await c.ok('vm', 'send-keys', 'db', 'ctrl-alt-delete')).toBe('vm db on h1 got its key');
    await c.serial('db', /reboot: Restarting system/);
    expect(await qemu('db')).toBe(before);
    expect((await c.berth('vm', 'send-keys', 'db', 'ctrl-alt-boom')).err).toMatch(/"boom" in ctrl-alt-boom is no key/);
  });

  it('takes a picture of the screen, in a form that people can look at', async () => {
    const file = join(c.dir, 'web.png');
    const said = await c.ok('vm', 'screenshot', 'web', file);
    const size = /: (\d+)x(\d+), the screen of vm web$/.exec(said);
    expect(Number(size?.[1])).toBeGreaterThanOrEqual(640);
    const png = readFileSync(file);
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([Number(size?.[1]), Number(size?.[2])]);
    expect(pixelBytes(png)).toBe((Number(size?.[1]) * 3 + 1) * Number(size?.[2]));
    expect((await c.berth('vm', 'screenshot', 'web', '/nonexistent/web.png')).err).toMatch(/can't write/);
  });

  it('gives up what was saved when that is wanted, and says so when it can not be restored', async () => {
    await c.ok('vm', 'save', 'web');
    const file = '/var/lib/libvirt/qemu/save/web.save';
    await lab().host('h1').run(['truncate', '-s', '200K', file]);
    expect((await c.berth('vm', 'start', 'web')).err).toMatch(/berth vm start web --discard-saved/);
    // of a file that begins wrong, libvirt says nothing: it removes it and boots the guest afresh
    await lab()
      .host('h1')
      .run(['dd', 'if=/dev/zero', `of=${file}`, 'bs=64', 'count=1', 'conv=notrunc', 'status=none']);
    expect((await c.berth('vm', 'start', 'web')).err).toMatch(/could not go on from what was saved: .*--discard-saved/);
    expect(await vm('web')).toMatchObject({ state: 'saved' });
    await c.ok('vm', 'start', 'web', '--discard-saved');
    expect(await vm('web')).toMatchObject({ state: 'running' });
    await c.ok('vm', 'save', 'web');
    await c.ok('vm', 'delete', 'web');
    expect(await lab().host('h1').run(['ls', '/var/lib/libvirt/qemu/save'])).toBe('');
  });

  it('ends a suspend of a QEMU that is frozen with words, and the VM can still be forced off', async () => {
    const { suspend, stop } = await frozen;
    expect(suspend.err).toMatch(/the QEMU of vm ice has not answered for 20 s: it may be frozen/);
    expect(stop.out).toMatch(/^vm ice stopped /);
    expect((await c.berth('vm', 'reset', 'ice')).err).toBe(
      'berth: vm ice is stopped on h1. Start it first (berth vm start ice).',
    );
  });
});

/** Bytes of its lines, unpacked: throws unless the picture is whole. */
function pixelBytes(png: Buffer): number {
  const data: Buffer[] = [];
  let at = 8;
  let type = '';
  while (at < png.length) {
    const length = png.readUInt32BE(at);
    type = png.toString('latin1', at + 4, at + 8);
    if (type === 'IDAT') data.push(png.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  expect([png.toString('latin1', 1, 4), type, at]).toEqual(['PNG', 'IEND', png.length]);
  return inflateSync(Buffer.concat(data)).length;
}
