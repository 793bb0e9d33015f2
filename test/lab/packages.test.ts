/**
 * The packages under a real systemd: installed, booted, upgraded with a guest that runs, removed and purged; by dpkg, as a person
 * would, with the `berth` command that came in them.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { findRoot } from '@berth/deploy/setup/root.js';
import { describeLab } from '../harness/lab.ts';
import { eventually } from '../harness/processes.ts';
import { UnitHost } from '../harness/unit-host.ts';

const NAMES = ['berth', 'berth-agent', 'berth-controller', 'berth-runtime'];
/** In the checkout, which the host sees under /opt/berth. */
const SHELF = `deploy/dist/packages-${process.pid}`;
const QEMU = 'qemu-system-x86_64.*guest=own';

describeLab('packages', { hosts: ['h1'], init: 'systemd' }, (lab) => {
  const h1 = () => new UnitHost(lab().host('h1'));
  const sh = (script: string) => h1().sh(script);
  const berth = async (...args: string[]) => (await h1().host.run(['berth', ...args])).trim();
  const dpkg = (options: string, version: string) => sh(`dpkg ${options} /opt/berth/${SHELF}/${version}/*.deb 2>&1`);
  const qemu = () => h1().host.pids(QEMU);
  /** The controller may answer before it has heard of the host's agent in its new life. */
  const runs = () =>
    eventually('own is seen running', async () => {
      const { state } = JSON.parse(await berth('vm', 'show', 'own', '-o', 'json')) as { state: string };
      return state === 'running';
    });
  const pids = async () => [await h1().mainPid('berth-controller'), await h1().mainPid('berth-agent')];
  const up = () =>
    eventually('h1 is up', async () => {
      const { exitCode, stdout } = await h1().host.exec(['berth', 'host', 'list', '-o', 'json']);
      return exitCode === 0 && (JSON.parse(stdout) as { state: string }[])[0]?.state === 'up';
    });

  async function make(version: string, ...only: string[]): Promise<void> {
    const out = join(findRoot(), SHELF, version);
    const args = [
      '--out',
      out,
      '--compress',
      'none',
      '--version',
      version,
      ...only.flatMap((name) => ['--only', name]),
    ];
    await execa(process.execPath, [join(findRoot(), 'deploy/package.js'), ...args]);
  }

  beforeAll(async () => {
    await make('9.0.0');
    await make('9.1.0', 'berth', 'berth-agent', 'berth-controller');
  }, 120_000);
  afterAll(() => rmSync(join(findRoot(), SHELF), { recursive: true, force: true }));

  it('install without a question, with a user of its own, and start nothing that can not run yet', async () => {
    const said = await dpkg('-i', '9.0.0');
    expect(said).not.toMatch(/warning|error/i);
    expect(await sh('grep -h ^ExecStart= /lib/systemd/system/berth-agent.service')).toBe(
      'ExecStart=/usr/bin/berth-agent run\n',
    );
    expect(await sh('stat -c "%U %a" /var/lib/berth-controller')).toBe('berth 700\n');
    expect(await sh('systemctl is-active berth-agent berth-controller || true')).toBe('inactive\ninactive\n');
    expect(await sh('berth-agent --check-config; berth-controller --check-config')).toMatch(/no mistakes.*\n.*is good/);
    expect(await sh('ls /usr/lib/berth/cli')).toMatch(/^berth-[0-9a-f]{16}\.v8$/m);
    const typed = 'COMP_LINE="berth vm cl" COMP_POINT=11; _berth; echo "${COMPREPLY[@]}"';
    const completed = ['bash', '-c', `. /usr/share/bash-completion/completions/berth; ${typed}`];
    expect(await h1().host.run(completed)).toBe('clone\n');
  });

  it('run after a boot, with their own Node and their own users, once they were told to', async () => {
    await sh(`berth-controller init --address ${lab().host('h1').address}:7443
      systemctl enable --now berth-controller
      sed -i 's/^#domainType: auto/domainType: qemu/' /etc/berth/agent.yaml`);
    await eventually('the controller answers', async () => {
      const login = ['berth', 'login', '--token-file', '/var/lib/berth-controller/admin-token'];
      return (await h1().host.exec(login)).exitCode === 0;
    });
    await berth('host', 'add', 'h1', lab().host('h1').address, '--token-file', '/root/h1.token');
    await sh('berth-agent enroll --token-file /root/h1.token; systemctl enable --now berth-agent');
    await up();
    await lab().host('h1').restart();
    await up();
    const [controller, agent] = await pids();
    for (const pid of [controller, agent])
      expect((await sh(`readlink /proc/${pid}/exe`)).trim()).toBe('/usr/lib/berth/runtime/node');
    expect(await sh(`stat -c %U /proc/${controller} /proc/${agent}`)).toBe('berth\nroot\n');
    await berth('vm', 'create', 'own', '--disk', '16MiB', '--memory', '64MiB', '--start');
    expect(await qemu()).toHaveLength(1);
  });

  it('are upgraded while the guest runs: other daemons, the same QEMU, configuration and data as they were', async () => {
    const [guest, daemons] = [await qemu(), await pids()];
    expect(await dpkg('-i', '9.1.0')).not.toMatch(/warning|error/i);
    await up();
    const after = await pids();
    expect(after.every((pid, i) => pid !== 0 && pid !== daemons[i])).toBe(true);
    expect(await qemu()).toEqual(guest);
    await runs();
    expect(await sh('grep ^domainType /etc/berth/agent.yaml')).toBe('domainType: qemu\n');
    expect((await sh('ls /usr/lib/berth/cli')).match(/\.v8$/gm)).toHaveLength(1);
  });

  it('leave a daemon stopped that was stopped before an upgrade', async () => {
    await sh('systemctl stop berth-agent');
    await dpkg('-i', '9.1.0');
    expect(await h1().mainPid('berth-agent')).toBe(0);
    await sh('systemctl start berth-agent');
    await up();
  });

  it('are removed and come back: the guest, its disk, the inventory and the settings are there', async () => {
    const guest = await qemu();
    await sh(`dpkg -r ${NAMES.join(' ')} 2>&1`);
    expect(await sh('ls /usr/bin/berth* /usr/lib/berth 2>/dev/null || true')).toBe('');
    expect(await h1().host.pids('/usr/lib/berth')).toEqual([]);
    expect(await qemu()).toEqual(guest);
    await dpkg('-i', '9.0.0');
    await sh('systemctl start berth-controller berth-agent');
    await up();
    await runs();
    expect(await qemu()).toEqual(guest);
  });

  it('are purged: configuration and keys go, disks and the inventory stay, and that is said', async () => {
    const guest = await qemu();
    // somebody's mount must not keep the package from going
    await sh('mkdir -p /var/lib/berth/boot && mount -t tmpfs none /var/lib/berth/boot');
    const said = await sh(`dpkg -P ${NAMES.join(' ')} 2>&1`);
    expect(said).toMatch(/berth-agent: disks and images are kept in \/var\/lib\/berth, .*rm -r \/var\/lib\/berth$/ms);
    expect(said).toMatch(/berth-controller: the inventory and the keys .* are kept/);
    expect(await sh('ls /etc/berth /etc/systemd/system/multi-user.target.wants/berth-* 2>/dev/null || true')).toBe('');
    expect(await sh('ls /var/lib/berth')).not.toMatch(/identity|operations/);
    expect(await sh('find /var/lib/berth/volumes -name "*.qcow2" | wc -l')).toBe('1\n');
    expect(await sh('ls /var/lib/berth-controller')).toMatch(/inventory|\.db|sqlite/);
    expect(await qemu()).toEqual(guest);
  });

  it('are purged where the agent has another folder: it stays as it is, and is named', async () => {
    await sh(`dpkg -i /opt/berth/${SHELF}/9.0.0/berth-runtime_*.deb /opt/berth/${SHELF}/9.1.0/berth-agent_*.deb
      mkdir -p /srv/berth/identity
      echo 'dataDir: /srv/berth' >/etc/berth/agent.yaml`);
    await sh('dpkg -r berth-agent');
    expect(await sh('dpkg -P berth-agent berth-runtime 2>&1')).toMatch(/^berth-agent: .* rm -r \/srv\/berth$/m);
    expect(await sh('ls /srv/berth; ls /var/lib/berth | grep data-dir || true')).toBe('identity\n');
  });
});
