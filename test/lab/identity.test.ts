/**
 * Guests learn who they are: a real Debian 12 with systemd and cloud-init, told by a seed, and the same image told on its disk before
 * it boots; each says on its own console what it made of that. And what must not happen while a disk is changed from outside.
 */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { debianImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8 ops@example';
/** A systemd under emulation, two at a time, on a machine that does other things too. */
const BOOT_MS = 600_000;

describeLab('who guests are', { hosts: ['h1'] }, (lab) => {
  let c: Cluster;
  const files = mkdtempSync(join(tmpdir(), 'identity-'));
  const file = (name: string, text: string): string => {
    writeFileSync(join(files, name), text);
    return join(files, name);
  };
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    await c.addLabHost(lab().host('h1'));
    await c.waitUp('h1');
    await c.ok('image', 'import', debianImagePath(), '--name', 'debian');
    const key = file('key.pub', `${KEY}\n`);
    const told = ['--gateway', '10.77.0.254', '--ssh-key', key, '--memory', '512MiB'];
    const script = file('first-boot', '#!/bin/sh\necho "first boot of $(cat /etc/hostname)"\n');
    const offline = ['--identity', 'offline', '--ip', '10.77.0.42/24', '--first-boot', script];
    expect(await ended('vm', 'clone', 'debian', 'plain', ...offline, ...told)).toContain('host name plain');
    await c.ok('vm', 'clone', 'debian', 'cloud', '--ip', '10.77.0.41/24', ...told, '--start');
  }, 600_000);
  afterAll(async () => {
    await c?.stop();
    await rm(files, { recursive: true, force: true });
  });

  const h1 = () => lab().host('h1');
  /** What `job show` says of its job in the end: on a busy machine an appliance takes longer than a command may. */
  const ended = async (...args: string[]): Promise<string> => {
    const job = await c.ok(...args, '--no-wait');
    const look = async () => {
      const { state } = await c.json<{ state: string }>('job', 'show', job);
      return ['succeeded', 'failed', 'cancelled'].includes(state) && c.ok('job', 'show', job);
    };
    return eventually(`the end of ${args.join(' ')}`, look, BOOT_MS);
  };
  const sh = async (script: string): Promise<string> => (await h1().exec(['sh', '-c', script])).stdout.trim();
  const facts = async (vm: string, patterns: readonly RegExp[]): Promise<string> => {
    let said = '';
    for (const p of patterns) said = await c.serial(vm, p, BOOT_MS);
    return said;
  };
  const factOf = (said: string, name: string) => new RegExp(`^berth-facts: .*\\b${name} (\\S+)`, 'm').exec(said)?.[1];

  it('offers a login to a guest whose port is silent, and gives it one on its disk', async () => {
    const check = await c.ok('vm', 'console', 'plain', '--check');
    expect(check).toContain('berth vm stop plain, then berth vm customize plain --serial-login');
    expect(await ended('vm', 'customize', 'plain', '--serial-login')).toMatch(
      /Debian GNU\/Linux 12 \(bookworm\), a login on its serial port/,
    );
    await c.ok('vm', 'start', 'plain');
    const running = await c.berth('vm', 'customize', 'plain', '--hostname', 'other');
    expect(running.code).toBe(4);
    expect(running.err).toMatch(/vm plain is (running|starting) on h1\. Its disk can be changed when it is stopped/);
  }, 300_000);

  it('goes on when the agent is killed in the middle, and the guest has all of it', async () => {
    await c.ok('vm', 'clone', 'debian', 'third', '--identity', 'none');
    const asked = ended('vm', 'customize', 'third', '--hostname', 'third-of-all', '--new-machine-id');
    await eventually('the appliance runs', async () => (await h1().pids('guestfsd.sock')).length > 0, 120_000);
    await h1().stopAgent('SIGKILL');
    await eventually('the appliance is gone too', async () => (await h1().pids('guestfsd.sock')).length === 0);
    expect((await c.berth('vm', 'start', 'third')).code).not.toBe(0);
    await h1().startAgent();
    expect(await asked).toContain('host name third-of-all, a new machine id');
    expect(await sh('ls /var/lib/berth/customize /var/lib/berth/staging | grep -v :; true')).toBe('');
    expect(await hostnameOn('third')).toBe('third-of-all');
  }, 600_000);

  it('is refused in one line where there is no guest that it can be done to, and the volume is as it was', async () => {
    await c.ok('vm', 'create', 'blank', '--disk', '64MiB');
    const path = await volumeOf('blank');
    const before = await sh(`sha256sum ${path}; stat -c '%a %U' ${path}`);
    expect(await ended('vm', 'customize', 'blank', '--hostname', 'x')).toContain(
      'no Linux system was found on the disk (it has no file system)',
    );
    expect(await sh(`sha256sum ${path}; stat -c '%a %U' ${path}`)).toBe(before);
  }, 300_000);

  it(
    'a guest with cloud-init has the name, the address and the key of its seed',
    async () => {
      const said = await facts('cloud', [
        /^berth-guest: cloud 10\.77\.0\.41\/24 +by 10\.77\.0\.254/m,
        /^berth-facts: /m,
      ]);
      expect(said).toMatch(/^berth-facts: .* keys 1 seed there cloud-init done ssh active/m);
    },
    BOOT_MS,
  );

  it(
    'a guest without it has the same of its disk: name, address, key, a script that ran once, a login',
    async () => {
      const said = await facts('plain', [
        /^berth-guest: plain 10\.77\.0\.42\/24 +by 10\.77\.0\.254/m,
        /^berth-facts: /m,
        /first boot of plain/,
        /plain login: /,
      ]);
      expect(said).toMatch(/^berth-facts: .* keys 1 seed gone cloud-init \S+ ssh active/m);
      const cloud = await c.ok('vm', 'log', 'cloud');
      expect(factOf(said, 'machine')).toMatch(/^[0-9a-f]{32}$/);
      expect(factOf(said, 'machine')).not.toBe('0123456789abcdef0123456789abcdef');
      expect(factOf(said, 'host-key')).toMatch(/^SHA256:/);
      expect(factOf(said, 'host-key')).not.toBe(factOf(cloud, 'host-key'));
    },
    BOOT_MS,
  );

  it(
    'an image of a guest that runs, generalized, makes guests of their own: other machine id, other host keys',
    async () => {
      const said = await ended('image', 'capture', 'plain', '--name', 'golden:1', '--generalize');
      expect(said).toMatch(/generalize +.*Debian GNU\/Linux 12 \(bookworm\), .*generalized/);
      await c.ok('vm', 'stop', 'plain', '--force');
      await c.ok('vm', 'clone', 'golden:1', 'own', '--ip', '10.77.0.43/24', '--memory', '512MiB', '--start');
      const own = await facts('own', [/^berth-guest: own 10\.77\.0\.43\/24/m, /^berth-facts: /m]);
      const plain = await c.ok('vm', 'log', 'plain');
      for (const name of ['machine', 'host-key']) {
        expect(factOf(own, name)).toMatch(/^([0-9a-f]{32}|SHA256:\S+)$/);
        expect(factOf(own, name)).not.toBe(factOf(plain, name));
      }
      expect(own).not.toContain('first boot of');
    },
    BOOT_MS,
  );

  it(
    'a guest that was up keeps its name without its seed, which goes with its next start',
    async () => {
      const seeds = async () => (await sh('ls /var/lib/berth/volumes')).split('\n').filter((f) => f.endsWith('.iso'));
      expect((await h1().virsh(['domblklist', 'cloud'])).includes('.iso')).toBe(true);
      const before = await seeds();
      await c.ok('vm', 'stop', 'cloud', '--timeout', '5m');
      await c.ok('vm', 'start', 'cloud');
      expect((await h1().virsh(['domblklist', 'cloud'])).includes('.iso')).toBe(false);
      expect(await seeds()).toHaveLength(before.length - 1);
    },
    BOOT_MS,
  );

  async function volumeOf(vm: string): Promise<string> {
    const shown = await c.json<{ spec: { disks: { volumeId: string }[] } }>('vm', 'show', vm);
    const id = shown.spec.disks[0]?.volumeId ?? JSON.stringify(shown);
    return `/var/lib/berth/volumes/${id}.qcow2`;
  }

  /** Read from the file system itself: a second appliance would take as long as the first. */
  async function hostnameOn(vm: string): Promise<string> {
    const raw = '/var/tmp/disk.raw';
    const read = `debugfs -R 'cat /etc/hostname' '${raw}?offset=1048576' 2>/dev/null; rm ${raw}`;
    return sh(`qemu-img convert -f qcow2 -O raw ${await volumeOf(vm)} ${raw} && { ${read}; }`);
  }
});
