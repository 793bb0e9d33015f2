/**
 * The daemons under their units, by a real systemd: what the units grant is enough for the main job, each grant is needed for
 * what its comment says, and what they don't grant is refused by the kernel. Restarts leave guests and transfers alone.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { findRoot } from '@berth/deploy/setup/root.js';
import { Cluster } from '../harness/cluster.ts';
import { noisyDisk } from '../harness/disk-files.ts';
import { describeLab } from '../harness/lab.ts';
import { eventually } from '../harness/processes.ts';
import { capabilityMask, granted, statusOf, UnitHost } from '../harness/unit-host.ts';
import { vncGreeting } from '../harness/viewer.ts';

const AGENT = readFileSync(join(findRoot(), 'deploy/systemd/berth-agent.service'), 'utf8');
const CONTROLLER_DIR = '/var/lib/berth-controller';
const NONE = '0000000000000000';
const BULK_BYTES = 120 * 2 ** 20;
/** The bulk takes twenty seconds over it: time to look, however slow the machine is. */
const SLOW = 'tc qdisc add dev eth0 root tbf rate 50mbit burst 256kb latency 100ms';
/** Debian's own, less what a container cannot have. */
const QEMU_CONF = 'user = "libvirt-qemu"\ngroup = "libvirt-qemu"\nnamespaces = []\ncgroup_controllers = []\n';

/** What each capability of the agent's unit is for, in small. All of them work under the unit, each only with its own. */
const NEEDED: Readonly<Record<string, string>> = {
  CAP_CHOWN: 'f=$(mktemp -p /var/lib/berth) && chown nobody $f && rm $f',
  CAP_DAC_OVERRIDE: 'cat /var/lib/berth/probe',
  CAP_FOWNER: 'chmod 0400 /var/lib/berth/probe',
  CAP_SETUID: 'setpriv --reuid=65534 true',
  CAP_SETGID: 'setpriv --regid=65534 --clear-groups true',
  CAP_SETPCAP: 'setpriv --bounding-set=-all grep -q CapBnd:.0000000000000000 /proc/self/status',
  CAP_KILL: 'kill -0 $(pgrep -o -u nobody sleep)',
  CAP_SYS_PTRACE: 'cat /proc/$(pgrep -o -u nobody sleep)/environ',
  CAP_NET_ADMIN: 'ip link add name probe type bridge && ip link delete dev probe',
  CAP_SYS_ADMIN: 'unshare --net --pid --fork true',
};

/** Fails under the agent's unit, though it is root; and works without the unit. */
const FORBIDDEN = [
  'touch /etc/probe',
  'touch /usr/local/bin/probe',
  'touch /var/lib/libvirt/probe',
  'touch /run/probe',
  'ls /root/probe-dir',
  'echo 1 >/proc/sys/net/ipv4/ip_forward',
  'mkdir /sys/fs/cgroup/probe',
  'mount -o remount,rw /',
  'mount -t tmpfs none /mnt',
  'unshare --mount true',
  'mknod /var/lib/berth/probe-device b 7 0',
  ': <>/dev/net/tun',
  'chroot / true',
  'chmod u+s /var/lib/berth/probe',
];
/** What the lab's container forbids even without a unit is no proof: those are not asked to work outside. */
const FORBIDDEN_BY_LAB = /proc\/sys/;

describeLab('hosts where systemd runs our units', { hosts: ['h1', 'h2'], init: 'systemd' }, (lab) => {
  let c: Cluster;
  const at = (name: string) => new UnitHost(lab().host(name));
  beforeAll(async () => {
    const h1 = at('h1');
    await h1.install('berth-controller');
    await h1.sh('cd /opt/berth; systemd-sysusers $PWD/deploy/systemd/berth.conf');
    const init = ['berth-controller', 'init', '--data-dir', CONTROLLER_DIR, '--address', `${h1.host.address}:7443`];
    await h1.host.run(init);
    await h1.start('berth-controller');
    const line = await h1.host.readFile(`${CONTROLLER_DIR}/admin-token`);
    c = await eventually('the controller answers', () => Cluster.elsewhere(`${h1.host.address}:7443`, line));
    for (const host of lab().hosts) {
      const unit = new UnitHost(host);
      await unit.install('berth-agent');
      await host.writeFile('/etc/berth/agent.yaml', 'domainType: qemu\n');
      await host.writeFile('/etc/libvirt/qemu.conf', QEMU_CONF);
      await unit.sh('systemctl restart libvirtd');
      const token = await c.joinToken(host.name, `${host.address}:7444`);
      await host.run(['berth-agent', 'enroll'], { input: token });
      await unit.start('berth-agent');
    }
    await c.waitUp('h1', 'h2');
  }, 180_000);
  afterAll(() => c?.stop());

  it('find no fault with them, and count them as well confined', async () => {
    const files = ['berth-agent', 'berth-controller'].map((n) => `/etc/systemd/system/${n}.service`);
    expect(
      await lab()
        .host('h1')
        .exec(['systemd-analyze', 'verify', '--man=no', ...files]),
    ).toMatchObject({ exitCode: 0, stderr: '' });
    const security = ['systemd-analyze', 'security', '--offline=true', '--no-pager'];
    for (const [file, threshold] of [
      [files[0], 40],
      [files[1], 15],
    ] as const) {
      const r = await lab()
        .host('h1')
        .exec([...security, `--threshold=${threshold}`, file ?? '']);
      expect(r.exitCode, r.stdout.trim().split('\n').at(-1)).toBe(0);
    }
  });

  it('run the controller as its own user, without any privilege, and take backups of it while it runs', async () => {
    const h1 = at('h1');
    const status = await statusOf(h1.host, await h1.mainPid('berth-controller'));
    expect(status.get('Uid')).not.toMatch(/^0\b/);
    expect([status.get('CapBnd'), status.get('CapPrm'), status.get('NoNewPrivs')]).toEqual([NONE, NONE, '1']);
    const owners = await h1.sh(`find ${CONTROLLER_DIR} -printf '%u\\n' | sort -u`);
    expect(owners.trim()).toBe('berth');
    const to = ['--data-dir', CONTROLLER_DIR, '--to', '/root/backup.tar'];
    expect(await h1.host.run(['berth-controller', 'backup', ...to])).toMatch(/read back and checked/);
    expect(await h1.host.run(['berth-controller', 'backup', 'verify', '/root/backup.tar'])).toMatch(
      /is whole: 2 hosts/,
    );
  });

  it('leave nothing of root in the controller’s directory when root works on it', async () => {
    const h1 = at('h1');
    await h1.sh('systemctl stop berth-controller');
    await h1.host.run(['berth-controller', 'admin-token', '--data-dir', CONTROLLER_DIR]);
    expect((await h1.sh(`find ${CONTROLLER_DIR} -printf '%u\\n' | sort -u`)).trim()).toBe('berth');
    await h1.start('berth-controller');
    await c.waitUp('h1', 'h2');
  });

  it('give the agent exactly the capabilities of the file', async () => {
    for (const host of lab().hosts) {
      const status = await statusOf(host, await new UnitHost(host).mainPid('berth-agent'));
      const mask = capabilityMask(granted(AGENT));
      expect([status.get('CapBnd'), status.get('CapPrm'), status.get('CapEff')]).toEqual([mask, mask, mask]);
      expect([status.get('CapAmb'), status.get('NoNewPrivs'), status.get('Seccomp')]).toEqual([NONE, '1', '2']);
    }
  });

  it('grant no capability that is not needed, and each for what it is needed', async () => {
    const h1 = at('h1');
    expect(Object.keys(NEEDED).sort()).toEqual(granted(AGENT).sort());
    await h1.sh(`systemd-run --quiet --unit=probe-sleep --uid=nobody sleep 600
      install -m 0600 -o nobody /dev/null /var/lib/berth/probe`);
    const commands = Object.values(NEEDED);
    expect(await h1.probe('berth-agent', commands)).toEqual(commands.map(() => 0));
    for (const [name, command] of Object.entries(NEEDED)) {
      const [code] = await h1.probe('berth-agent', [command], (t) => t.replace(new RegExp(`${name}\\b(?=[ \\n])`), ''));
      expect(code, `without ${name}: ${command}`).not.toBe(0);
    }
    await h1.sh('systemctl stop probe-sleep; rm /var/lib/berth/probe');
  });

  it('refuse everything else to the agent, though it is root', async () => {
    const h1 = at('h1');
    await h1.sh('mkdir /root/probe-dir; install -m 0600 /dev/null /var/lib/berth/probe');
    const codes = await h1.probe('berth-agent', FORBIDDEN);
    expect(FORBIDDEN.filter((_, i) => codes[i] === 0)).toEqual([]);
    const outside = FORBIDDEN.filter((command) => !FORBIDDEN_BY_LAB.test(command));
    for (const command of outside) expect((await h1.host.exec(['sh', '-c', command])).exitCode, command).toBe(0);
    const entered = ['nsenter', '--mount', `--target=${await h1.mainPid('berth-agent')}`];
    expect((await h1.host.exec([...entered, 'touch', '/etc/probe2'])).stderr).toMatch(/Read-only file system/);
    await h1.sh('umount /mnt; rmdir /root/probe-dir /sys/fs/cgroup/probe; rm /var/lib/berth/probe* /etc/probe');
  });

  it('do the main job: import, clone on another host, start, log, screen', async () => {
    await c.ok('image', 'import', guestImagePath(), '--name', 'base', '--host', 'h1');
    await c.ok('vm', 'clone', 'base', 'web', '--host', 'h2', '--memory', '128MiB', '--start');
    await c.serial('web', /^berth-guest: web /m);
    expect(await vncGreeting(c, 'web')).toBe('RFB 003.008\n');
  });

  /** The agent dies when the upload belongs to the account of the disk tools already; systemd starts it again. */
  async function importWithAKill(file: string): Promise<void> {
    const killed = at('h1')
      .sh(`timeout 60 sh -c 'until [ -e /var/lib/berth/staging/import-*/source ]; do sleep 0.02; done'
      systemctl kill --kill-whom=main --signal=KILL berth-agent`);
    const [said] = await Promise.all([c.berth('image', 'import', file, '--host', 'h1'), killed]);
    expect(said.code, said.err).toBe(0);
  }

  it('restart the agents amid a transfer: guest, disk tools and log go on, and the job ends well', async () => {
    const [h1, h2] = [at('h1'), at('h2')];
    const file = join(c.dir, 'bulk.img');
    writeFileSync(file, noisyDisk(BULK_BYTES));
    await importWithAKill(file);
    await h1.sh(SLOW);
    await c.ok('vm', 'clone', 'bulk', 'big', '--host', 'h2', '--memory', '96MiB', '--no-wait');
    await c.midTransfer();
    const qemu = await h2.host.pids('qemu-system-x86_64.*guest=web');
    const tools = { nbd: await toolPids(h1, 'qemu-nbd'), storage: await toolPids(h2, 'qemu-storage-daemon') };
    expect(tools.storage.length).toBe(1);
    expect(tools.nbd.length).toBeGreaterThan(0);
    for (const pid of tools.nbd) await hasNoPrivileges(h1, pid);
    for (const pid of tools.storage) await hasNoPrivileges(h2, pid);

    // the source in order, the target without: its storage daemon goes on, and is taken over
    await h1.restarted('berth-agent', 'systemctl restart berth-agent');
    await h2.restarted('berth-agent', 'systemctl kill --kill-whom=main --signal=KILL berth-agent');
    await c.waitUp('h1', 'h2');
    expect(await toolPids(h1, 'qemu-nbd')).toEqual(tools.nbd);
    expect(await toolPids(h2, 'qemu-storage-daemon')).toEqual(tools.storage);
    // in order: the daemon ends with all it has on disk, and another goes on in the same copy
    const copy = () => h2.sh('stat --format=%i /var/lib/berth/cache/*.qcow2');
    const half = await copy();
    await h2.restarted('berth-agent', 'systemctl restart berth-agent');
    expect(await copy()).toBe(half);

    await h1.sh('tc qdisc delete dev eth0 root');
    await c.waitUp('h1', 'h2');
    await c.quiet(120_000);
    expect(await c.json('vm', 'show', 'big')).toMatchObject({ state: 'stopped', host: 'h2' });
    const ended = async () => (await toolPids(h2, 'qemu-storage-daemon')).length === 0;
    await eventually('nobody serves what has become whole', ended, 60_000);
    expect(await h2.host.pids('qemu-system-x86_64.*guest=web')).toEqual(qemu);
    await c.ok('vm', 'stop', 'web');
    expect(await c.serial('web', /button pressed|agent shuts down/)).toMatch(/^berth-guest: web /m);
  });

  it('change disks in a pool at any path, where the unit itself may not write, and the guests on them', async () => {
    const h1 = at('h1');
    const folder = '/srv/berth-pool';
    // the least that is a Linux system
    await h1.sh(`mkdir -p /root/tree/etc /root/tree/usr/bin ${folder}; cd /root/tree/etc
      echo root:x:0:0::/:/bin/sh >passwd; echo tiny >hostname; echo ID=debian >os-release
      mke2fs -q -t ext4 -d /root/tree /root/tiny.raw 24m; chmod 700 ${folder}`);
    const file = join(c.dir, 'tiny.raw');
    await h1.host.copyOut('/root/tiny.raw', file);
    await c.ok('image', 'import', file, '--name', 'tiny', '--format', 'raw', '--host', 'h1');
    await c.ok('pool', 'create', 'srv', '--path', folder, '--host', 'h1');
    await c.ok(
      'vm',
      'clone',
      'tiny',
      'own',
      '--pool',
      'srv',
      '--host',
      'h1',
      '--memory',
      '64MiB',
      '--identity',
      'none',
    );
    const { id } = await c.json<{ id: string }>('volume', 'show', 'own-vda');
    const before = await h1.sh(`stat -c '%a %U' ${folder}/${id}.qcow2`);
    const job = await c.ok('vm', 'customize', 'own', '--hostname', 'renamed', '--no-wait');
    await c.quiet(600_000);
    expect(await c.ok('job', 'show', job)).toMatch(/succeeded[^]*host name renamed/);
    expect(await h1.sh(`stat -c '%a %U' ${folder}/${id}.qcow2; ls /var/lib/berth/customize`)).toBe(before);
    for (const verb of [['sparsify'], ['move', '--full'], ['convert', '--to', 'raw']])
      await c.ok('volume', verb[0]!, 'own-vda', ...verb.slice(1));
    expect(await h1.sh(`debugfs -R 'cat /etc/hostname' ${folder}/${id}.raw 2>/dev/null`)).toBe('renamed\n');
    await c.ok('volume', 'wipe', 'own-vda');
    const left = await h1.sh(`ls ${folder} | grep -v mark; tr -d '\\0' <${folder}/${id}.raw | wc -c`);
    expect(left).toBe(`${id}.raw\n0\n`);
    await c.ok('vm', 'delete', 'own', '--force');
    await c.ok('pool', 'remove', 'srv');
    await c.ok('image', 'delete', 'tiny');
  }, 900_000);

  it('delete what was made, and leave no helper behind', async () => {
    await c.ok('vm', 'delete', '--force', 'web', 'big');
    await c.ok('image', 'delete', 'base', 'bulk');
    for (const host of lab().hosts) {
      const find = 'cd /var/lib/berth; find volumes images staging cache uploads serial -type f';
      await eventually(`${host.name} keeps nothing`, async () => {
        const left = [await new UnitHost(host).sh(find), ...(await host.pids('^qemu-(nbd|storage-daemon)'))].join(' ');
        if (left !== '') throw new Error(left);
        return true;
      });
    }
  });

  it('let the agent set the kernel through systemd, though its own unit may not', async () => {
    const h1 = at('h1');
    const run = '/sys/kernel/mm/ksm/run';
    // a kernel's file of the lab's own: that of the machine is not for tests
    await h1.sh(`mount -t tmpfs tmpfs /sys/kernel/mm/ksm; echo 0 >${run}; systemctl restart berth-agent`);
    await c.waitUp('h1');
    const inside = ['nsenter', '--mount', `--target=${await h1.mainPid('berth-agent')}`];
    const written = await h1.host.exec([...inside, 'sh', '-c', `echo 1 >${run}`]);
    expect(written.stderr).toMatch(/Read-only file system/);
    await c.ok('host', 'tune', 'h1', '--ksm', 'on');
    expect((await h1.sh(`cat ${run}`)).trim()).toBe('1');
  });

  it('keep the agent from another data directory, which says so, until a drop-in names it', async () => {
    const h2 = at('h2');
    await h2.sh(`systemctl stop berth-agent; cp -a /var/lib/berth /srv/berth
      printf 'domainType: qemu\\ndataDir: /srv/berth\\n' >/etc/berth/agent.yaml`);
    const check = await h2.host.exec(['berth-agent', 'check']);
    expect(check.exitCode).toBe(1);
    expect(check.stdout).toMatch(/✘ data-directory +\/srv\/berth cannot .* ReadWritePaths=\/srv\/berth/);
    await h2.start('berth-agent');
    await eventually('the agent tells why it cannot run', async () =>
      /\/srv\/berth cannot be used: EROFS.*ReadWritePaths=\/srv\/berth/.test(await h2.journal('berth-agent')),
    );
    await h2.dropIn('berth-agent', 'ReadWritePaths=/srv/berth');
    expect((await h2.host.exec(['berth-agent', 'check'])).stdout).toMatch(/✔ data-directory/);
    await h2.sh('systemctl restart berth-agent');
    await c.waitUp('h2');
  });
});

const toolPids = async (unit: UnitHost, program: string): Promise<number[]> =>
  (await unit.sh('pgrep -x "$1" || true', program.slice(0, 15))).split('\n').map(Number).filter(Boolean);

async function hasNoPrivileges(unit: UnitHost, pid: number): Promise<void> {
  const status = await statusOf(unit.host, pid);
  expect(status.get('Uid')).toBe('65534\t65534\t65534\t65534');
  const sets = ['CapBnd', 'CapPrm', 'CapEff', 'CapInh', 'CapAmb'].map((name) => status.get(name));
  expect(new Set(sets)).toEqual(new Set([NONE]));
  expect([status.get('NoNewPrivs'), status.get('Seccomp')]).toEqual(['1', '2']);
}
