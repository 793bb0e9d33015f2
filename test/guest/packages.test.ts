/**
 * The packages on a Debian machine with a kernel, a systemd and AppArmor of its own: installed as the README says, booted, upgraded
 * while a guest of its own runs, purged. What lab/packages.test.ts does in a container, and faster.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { InstallGuest } from '@berth/deploy/lab/install-guest.ts';
import { findRoot } from '@berth/deploy/setup/root.js';
import { describeLab } from '../harness/lab.ts';

/** In the checkout, which the lab host sees. */
const SHELF = join(findRoot(), `deploy/dist/packages-guest-${process.pid}`);
const PACKAGES = 'berth berth-agent berth-controller berth-runtime';
/** Everything takes ten times as long as on a machine. */
const PATIENCE_S = 1_200;

describeLab('packages on a machine', { hosts: ['h1'] }, (lab) => {
  let m: InstallGuest;
  const sh = (script: string) => m.sh(script);
  const apt = (version: string) =>
    sh(`DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends /mnt/${version}/*.deb`);
  const pids = () => sh('systemctl show --property=MainPID --value berth-controller berth-agent');
  const qemu = () => sh('pgrep -f "^/usr/bin/qemu-system-x86_64.*guest=own"');
  /** Asked for in the machine, and seldom: each `berth` takes seconds of one of its CPUs. */
  const up = async () => {
    const asked = `until berth host list -o json | grep -q '"state": *"up"'; do sleep 5; done`;
    const { code } = await m.try(`timeout ${PATIENCE_S} sh -c '${asked.replaceAll("'", `'"'"'`)}' >/dev/null`);
    if (code !== 0)
      throw new Error(await sh('berth host list; journalctl --no-pager -n 60 -u berth-agent -u berth-controller'));
  };
  const make = (version: string, ...only: string[]) =>
    execa(process.execPath, [
      ...[join(findRoot(), 'deploy/package.js'), '--out', join(SHELF, version), '--compress', 'none'],
      ...['--version', version, ...only.flatMap((name) => ['--only', name])],
    ]);

  beforeAll(async () => {
    await make('9.0.0');
    await make('9.1.0', 'berth', 'berth-agent', 'berth-controller');
    m = await InstallGuest.start(lab().host('h1'), SHELF);
  }, 1_000 * PATIENCE_S);
  afterAll(() => rmSync(SHELF, { recursive: true, force: true }));

  it('install on a system that is whole, and leave it so', async () => {
    expect(await sh('systemctl --failed --plain --no-legend')).toBe('');
    expect(await sh('cat /sys/module/apparmor/parameters/enabled; systemd-detect-virt')).toBe('Y\nqemu');
    expect(await apt('9.0.0')).not.toMatch(/^[EW]:|warning:|error:/m);
    expect((await m.try('systemctl is-active berth-agent berth-controller')).said).toBe('inactive\ninactive');
    expect(await sh('dpkg --audit; berth-agent --check-config; berth-controller --check-config')).toMatch(/is good/);
  });

  it('run after a boot, with a guest that AppArmor confines', async () => {
    await sh(`berth-controller init --address 10.0.2.15:7443
      systemctl enable --now berth-controller
      sed -i 's/^#domainType: auto/domainType: qemu/' /etc/berth/agent.yaml
      until berth login --token-file /var/lib/berth-controller/admin-token; do sleep 1; done
      berth host add h1 10.0.2.15 --token-file /root/h1.token
      berth-agent enroll --token-file /root/h1.token
      systemctl enable --now berth-agent`);
    await up();
    await m.reboot();
    await up();
    expect(await sh('systemctl --failed --plain --no-legend; berth-agent check | grep -i missing || true')).toBe('');
    expect(await sh('stat -c %U /proc/$(systemctl show --property=MainPID --value berth-controller)')).toBe('berth');
    await sh('berth vm create own --disk 16MiB --memory 64MiB --start');
    expect(await sh(`cat /proc/${await qemu()}/attr/apparmor/current`)).toMatch(/^libvirt-[0-9a-f-]{36} \(enforce\)$/);
  });

  it('change volumes in a pool at any path, to which the unit of the agent may not write', async () => {
    const agent = '$(systemctl show --property=MainPID --value berth-agent)';
    await sh(`systemd-analyze security --no-pager --threshold=40 berth-agent >/dev/null
      mkdir /srv/berth-pool
      if nsenter --mount --target=${agent} touch /srv/berth-pool/probe; then exit 9; fi
      berth pool create srv --path /srv/berth-pool --host h1
      berth volume create data --size 64MiB --pool srv --host h1
      qemu-io -f qcow2 -c 'write -P 7 5M 1M' /srv/berth-pool/*.qcow2
      berth volume sparsify data
      berth volume convert data --to raw`);
    const held = () => sh("cat /srv/berth-pool/*.raw | tr -d '\\0' | wc -c; ls /srv/berth-pool | grep -vc mark");
    expect(await held()).toBe(`${2 ** 20}\n1`);
    await sh('berth volume wipe data');
    expect(await held()).toBe('0\n1');
    await sh('berth volume delete data; berth pool remove srv');
  });

  it('are upgraded, and the guest goes on', async () => {
    const [guest, daemons] = [await qemu(), await pids()];
    expect(await apt('9.1.0')).not.toMatch(/^[EW]:|warning:|error:/m);
    await up();
    expect((await pids()).split(/\s+/).every((pid) => pid !== '0' && !daemons.split(/\s+/).includes(pid))).toBe(true);
    expect(await qemu()).toBe(guest);
    expect(await sh('berth vm show own -o json')).toMatch(/"state": *"running"/);
    expect(await sh("dpkg-query -W -f '${Version}' berth-agent; grep ^domainType /etc/berth/agent.yaml")).toBe(
      '9.1.0domainType: qemu',
    );
  });

  it('are purged: the guest and its disk stay, and nothing of Berth starts at the next boot', async () => {
    const guest = await qemu();
    expect(await sh(`DEBIAN_FRONTEND=noninteractive apt-get purge -q -y ${PACKAGES}`)).toMatch(
      /rm -r \/var\/lib\/berth$/m,
    );
    expect(await qemu()).toBe(guest);
    expect(await sh('find /var/lib/berth/volumes -name "*.qcow2" | wc -l; ls /etc/berth 2>/dev/null | wc -l')).toBe(
      '1\n0',
    );
    await sh('virsh -q destroy own'); // it would be waited for: nothing in it hears of a shutdown
    await m.reboot();
    expect(
      await sh('systemctl --failed --plain --no-legend; systemctl list-unit-files --no-legend "berth*" || true'),
    ).toBe('');
    expect((await m.try('pgrep -f berth')).said).toBe('');
  });
});
