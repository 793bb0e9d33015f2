/**
 * Clones that run before their data has arrived, on real hosts: guests boot at once, read what is there and wait for what is not,
 * and see no error whatever dies meanwhile. Single behaviours of the copy are tested beside it.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually, PROGRAMS } from '../harness/processes.ts';

const MIB = 2 ** 20;
/** Of noise, behind the guest's own file system. */
const NOISE_MIB = 160;
const FROM_MIB = 64;
/** Slow enough to have time for mischief. */
const SLOW = MIB;
/** Of what takes a few seconds on a machine of its own. */
const LONG_MS = 180_000;
const TEST_MS = 400_000;

interface Vm {
  readonly name: string;
  readonly state: string;
  readonly stateReason: string;
}
interface Job {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
}

describeLab('instant clones', { hosts: ['h1', 'h2', 'h3'] }, (lab) => {
  let c: Cluster;
  let dir: string;
  let md5: string;
  let receivedBefore: number;
  const h = (name: string) => lab().host(name);
  const vm = async (name: string) => (await c.json<Vm[]>('vm', 'list')).find((v) => v.name === name);
  const state = async (name: string) => (await vm(name))?.state;
  const running = async (name: string) => (await state(name)) === 'running';
  const log = (name: string) => c.ok('vm', 'log', name);

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'berth-instant-'));
    const [image, sum] = await makeBig();
    md5 = sum;
    c = await Cluster.start(await machineAddress(lab()));
    await Promise.all(lab().hosts.map((host) => c.addLabHost(host)));
    await c.waitUp('h1', 'h2', 'h3');
    await c.ok('image', 'import', image, '--name', 'big', '--host', 'h1');
    await c.ok('vm', 'clone', 'big', 'second', '--host', 'h2', '--linked', '--memory', '96MiB');
    for (const name of ['h1', 'h2']) await limit(name, SLOW);
    receivedBefore = await received();
  }, TEST_MS);
  afterAll(async () => {
    await c?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  async function makeBig(): Promise<readonly [string, string]> {
    const [raw, path] = [join(dir, 'big.raw'), join(dir, 'big.qcow2')];
    await execa('qemu-img', ['convert', '-O', 'raw', guestImagePath(), raw]);
    const file = await open(raw, 'r+');
    const hash = createHash('md5');
    for (let i = 0; i < NOISE_MIB; i++) {
      const noise = randomBytes(MIB);
      hash.update(noise);
      await file.write(noise, 0, MIB, (FROM_MIB + i) * MIB);
    }
    await file.close();
    await execa('qemu-img', ['convert', '-O', 'qcow2', raw, path]);
    return [path, hash.digest('hex')];
  }

  const limit = (name: string, bytesPerSecond: number): Promise<string> => {
    const rate = ['rate', `${bytesPerSecond * 8}bit`, 'burst', '128kb', 'latency', '100ms'];
    return h(name).run(['tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', 'tbf', ...rate]);
  };
  const received = async (): Promise<number> =>
    Number(await h('h3').run(['cat', '/sys/class/net/eth0/statistics/rx_bytes']));

  /** Types a line at a guest's shell; what it prints is in the serial log. */
  async function type(name: string, line: string): Promise<void> {
    const console = execa(process.execPath, [PROGRAMS.berth, 'vm', 'console', name, '--force'], {
      env: { BERTH_CONFIG: c.configFile },
      reject: false,
    });
    let heard = '';
    console.stdout.on('data', (d: Buffer) => (heard += d.toString()));
    await eventually(
      'the guest answers',
      async () => {
        console.stdin.write('\n');
        return heard.includes(`${name}#`);
      },
      LONG_MS,
    );
    console.stdin.write(`${line}\necho ty""ped\n`);
    await eventually('the guest has it', async () => heard.includes('typed'), LONG_MS);
    console.kill('SIGINT');
    await console;
  }

  /** Reads all of the noise, past the guest's own cache. */
  const readAll = (mark: string): string =>
    `(dd if=/dev/vda bs=1M skip=${FROM_MIB} count=${NOISE_MIB} 2>/tmp/err.${mark} | md5sum | sed "s/^/${mark} /"; ` +
    `grep -i error /tmp/err.${mark}) &`;

  it(
    'runs two VMs on a host that has nothing of their image, at once, and says how much is there',
    async () => {
      const from = performance.now();
      await c.ok('vm', 'clone', 'big', 'web', 'db', '--host', 'h3', '--start', '--memory', '96MiB');
      await eventually('both run', async () => (await running('web')) && (await running('db')), LONG_MS);
      console.info(`instant clones: two running after ${Math.round(performance.now() - from)} ms`);
      expect(await h('h3').virsh(['dumpxml', 'web'])).toContain("protocol='nbd'");
      expect(await c.ok('vm', 'show', 'web')).toMatch(/\d+ % of big is here, rest from h[12]/);
      await Promise.all([h('h1').pause(), h('h2').pause()]);
    },
    TEST_MS,
  );

  it(
    'pauses them when no host that has the image answers, and says so',
    async () => {
      for (const name of ['web', 'db'])
        await eventually(
          `${name} waits`,
          async () => /waits for image big: no host/.test((await vm(name))?.stateReason ?? ''),
          LONG_MS,
        );
      expect(await state('web')).toBe('paused');
      await eventually('an alarm', async () => (await c.ok('alarm', 'list')).includes('waits for image big'), LONG_MS);
    },
    TEST_MS,
  );

  it(
    'keeps all of that when the daemon that fills is killed, and the agent, and the controller',
    async () => {
      expect(await h('h3').kill('qemu-storage-daemon', 'SIGKILL')).toBeGreaterThan(0);
      await h('h3').stopAgent('SIGKILL');
      await c.controller.end('SIGKILL');
      c.controller.start();
      await h('h3').startAgent();
      await c.waitUp('h3');
      const job = (await c.json<Job[]>('job', 'list', '--open')).find((x) => x.kind === 'image.fetch');
      await expect(c.ok('job', 'cancel', job?.id ?? '')).rejects.toThrow(/vm (web|db) and 1 more read the image/);
      expect(await state('web')).toBe('paused');
    },
    TEST_MS,
  );

  it(
    'goes on by itself when one host is back, without an error in a guest, also over another death of the daemon',
    async () => {
      await h('h2').unpause();
      await limit('h2', 16 * MIB);
      for (const name of ['web', 'db']) await c.serial(name, /^berth-facts: .* boots 1 /m, LONG_MS);
      await type('web', '(while :; do date >>/var/lib/ticks; sync; usleep 100000; done) &');
      await type('web', readAll('first'));
      expect(await h('h3').kill('qemu-storage-daemon|qemu-nbd.*/base', 'SIGKILL')).toBeGreaterThanOrEqual(0);
      await c.serial('web', new RegExp(`first ${md5}`), LONG_MS);
    },
    TEST_MS,
  );

  it(
    'rests on the plain file when all is there, which its host has checked, and runs on',
    async () => {
      await eventually(
        'both have moved',
        async () => {
          const xml = (await Promise.all(['web', 'db'].map((n) => h('h3').virsh(['dumpxml', n])))).join('');
          return !/protocol='nbd'|\.moved\./.test(xml);
        },
        LONG_MS,
      );
      const serves = 'qemu-nbd.*/base|qemu-storage-daemon';
      await eventually('nobody serves it', async () => (await h('h3').pids(serves)).length === 0, LONG_MS);
      await eventually(
        'nothing is left of the way there',
        async () => !(await h('h3').run(['ls', '/var/lib/berth/volumes'])).includes('.moved.'),
        LONG_MS,
      );
      for (const name of ['web', 'db']) {
        expect(await h('h3').virsh(['dumpxml', '--inactive', name])).not.toMatch(/nbd|\.moved\./);
        expect(await h('h3').virsh(['domstate', name])).toBe('running');
        expect(await log(name)).not.toMatch(/I\/O error|Buffer I\/O|EXT4-fs error/);
      }
      await eventually('that is seen', async () => !(await c.ok('vm', 'show', 'web')).includes('% of big'), LONG_MS);
      await type('db', readAll('again'));
      await c.serial('db', new RegExp(`again ${md5}`), LONG_MS);
    },
    TEST_MS,
  );

  it(
    'keeps snapshots of what it is while it runs, goes back to them, is cloned from them, and grows when they are gone',
    async () => {
      const says = async (what: string, mark: string): Promise<void> => {
        await type('web', `echo "${mark} $kept $(cat /var/lib/word)"`);
        await c.serial('web', new RegExp(`^${mark} ${what}\\s*$`, 'm'), LONG_MS);
      };
      await type('web', 'kept=one; echo one >/var/lib/word; sync');
      await c.ok('vm', 'snapshot', 'create', 'web', 'all');
      await type('web', 'kept=two; echo two >/var/lib/word; sync');
      await c.ok('vm', 'snapshot', 'create', 'web', 'disks', '--disk-only');
      await type('web', 'kept=three; echo three >/var/lib/word; sync');
      await says('three three', 'before');
      await c.ok('vm', 'clone', 'web', 'twin', '--snapshot', 'disks', '--host', 'h3', '--start');
      await c.serial('twin', /^berth-facts: .* boots 2 /m, LONG_MS);
      await type('twin', 'echo "twin $(cat /var/lib/word)"');
      await c.serial('twin', /^twin two\s*$/m, LONG_MS);
      await c.ok('vm', 'snapshot', 'revert', 'web', 'all', '--force');
      await says('one one', 'after');
      for (const name of ['all', 'disks']) await c.ok('vm', 'snapshot', 'delete', 'web', name);
      const disk = `/var/lib/berth/volumes/${await webVolume()}.qcow2`;
      expect(await h('h3').run(['qemu-img', 'snapshot', '-U', '-l', disk])).toBe('');
      await c.ok('volume', 'resize', 'web-vda', '1GiB');
      await type('web', 'echo "size $(cat /sys/block/vda/size)"');
      await c.serial('web', /^size 2097152\s*$/m, LONG_MS);
      await c.ok('vm', 'delete', 'twin', '--force');
    },
    TEST_MS,
  );

  it(
    'goes on from what was saved after it has moved',
    async () => {
      await type('db', 'kept=here');
      await c.ok('vm', 'save', 'db');
      await c.ok('vm', 'start', 'db');
      await type('db', 'echo "memory $kept"');
      await c.serial('db', /memory here/, LONG_MS);
      await type('db', readAll('saved'));
      await c.serial('db', new RegExp(`saved ${md5}`), LONG_MS);
    },
    TEST_MS,
  );

  it('has fetched each byte about once, for both', async () => {
    const bytes = (await received()) - receivedBefore;
    console.info(`instant clones: ${(bytes / MIB).toFixed(1)} MiB came for an image of ${NOISE_MIB + 13} MiB`);
    expect(bytes).toBeLessThan((NOISE_MIB + 14) * MIB * 1.25);
  });

  it(
    'starts again from its own file, with what it wrote while it moved',
    async () => {
      await c.ok('vm', 'stop', 'web', '--force');
      await c.ok('vm', 'start', 'web');
      await c.serial('web', /^berth-facts: .* boots 2 /m, LONG_MS);
      await type('web', 'wc -l /var/lib/ticks | sed "s/^/lines /"');
      await c.serial('web', /lines [1-9]\d*/, LONG_MS);
      expect(
        await h('h3').exec(['sh', '-c', 'ls /var/lib/berth/volumes/*.moved.* /var/lib/berth/cache/*']),
      ).toMatchObject({
        stdout: expect.not.stringContaining(String(await webVolume())) as string,
      });
    },
    TEST_MS,
  );

  const webVolume = async (): Promise<string> =>
    /volume-[\w-]+/.exec(await h('h3').virsh(['dumpxml', '--inactive', 'web']))?.[0] ?? 'none';

  it(
    'makes a full clone, which rests on nothing',
    async () => {
      await c.ok('vm', 'clone', 'big', 'own', '--host', 'h3', '--full', '--memory', '96MiB', '--start');
      await c.serial('own', /^berth-facts: .* boots 1 /m, LONG_MS);
      const disk = /<source file='([^']+\.qcow2)'/.exec(await h('h3').virsh(['dumpxml', 'own']))?.[1] ?? '';
      expect(await h('h3').run(['qemu-img', 'info', '-U', disk])).not.toContain('backing file');
      expect(await c.ok('vm', 'show', 'own')).toContain('copy of image big');
      await h('h1').unpause();
    },
    TEST_MS,
  );
});
