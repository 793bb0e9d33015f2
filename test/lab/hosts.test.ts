/**
 * The lab itself: hosts have a libvirt of their own, guests boot from their own disk and know who they are, and hosts can
 * be broken and mended. Nothing of Berth's programs is involved.
 */
import { expect, it } from 'vitest';
import type { LabHost } from '@berth/deploy/lab/host.ts';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { describeLab } from '../harness/lab.ts';
import { eventually } from '../harness/processes.ts';

const DISKS = '/var/lib/berth';
const SERIAL = '/var/log/web.log';

const DOMAIN = `<domain type='qemu'><name>web</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/><apic/></features>
<devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${DISKS}/web.qcow2'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${DISKS}/seed.iso'/><target dev='vdb' bus='virtio'/><readonly/></disk>
<interface type='bridge'><mac address='52:54:00:aa:bb:01'/><source bridge='br0'/><model type='virtio'/></interface>
<serial type='pty'><log file='${SERIAL}' append='on'/></serial><console type='pty'/>
</devices></domain>`;

const NETWORK = `version: 2
ethernets:
  nic0:
    match:
      macaddress: "52:54:00:AA:BB:01"
    addresses:
      - 10.77.0.11/24
`;

async function defineGuest(host: LabHost): Promise<void> {
  await host.copyIn(guestImagePath(), `${DISKS}/base.qcow2`);
  await host.writeFile(`${DISKS}/seed/meta-data`, 'instance-id: i-1\nlocal-hostname: web\n');
  await host.writeFile(`${DISKS}/seed/network-config`, NETWORK);
  await host.run([
    'genisoimage',
    '-quiet',
    '-output',
    `${DISKS}/seed.iso`,
    '-volid',
    'cidata',
    '-rock',
    `${DISKS}/seed`,
  ]);
  const overlay = ['-f', 'qcow2', '-b', `${DISKS}/base.qcow2`, '-F', 'qcow2', `${DISKS}/web.qcow2`, '1G'];
  await host.run(['qemu-img', 'create', '-q', ...overlay]);
  await host.writeFile('/tmp/web.xml', DOMAIN);
  await host.virsh(['define', '/tmp/web.xml']);
}

/** What the guest has said once it has booted so often. */
const bootLines = (host: LabHost, boots: number): Promise<string[]> =>
  eventually(
    `boot ${boots}`,
    async () => {
      const lines = (await host.exec(['grep', '-a', '^berth-', SERIAL])).stdout.split('\r\n');
      return lines.filter((line) => line.startsWith('berth-facts:')).length === boots && lines;
    },
    60_000,
  );

const powerIs = (host: LabHost, state: string) =>
  eventually(`web is ${state}`, async () => (await host.virsh(['domstate', 'web'])) === state);

describeLab('a lab host', { hosts: ['h1', 'h2'] }, (lab) => {
  it('knows the other hosts by name and is not the same machine', async () => {
    const [h1, h2] = [lab().host('h1'), lab().host('h2')];
    expect(await h1.run(['getent', 'hosts', 'h2'])).toContain(h2.address);
    const facts = (host: LabHost) => host.run(['cat', '/etc/machine-id', '/proc/sys/kernel/random/boot_id']);
    expect(await facts(h1)).not.toBe(await facts(h2));
    expect((await h1.run(['hostname'])).trim()).toBe('h1');
    expect(await h1.run(['/usr/local/bin/node', '--version'])).toBe(`${process.version}\n`);
  });

  it('boots a guest that knows its name and address, keeps its disk, and obeys the power button', async () => {
    const host = lab().host('h1');
    await defineGuest(host);
    await host.virsh(['start', 'web']);
    const first = await bootLines(host, 1);
    expect(first[0]).toMatch(/^berth-guest: web 10\.77\.0\.11 up \d+\.\d s$/);
    expect(first[1]).toBe('berth-facts: disk 1073741824 boots 1 instance i-1');
    await host.run(['ping', '-c', '1', '-W', '5', '10.77.0.11']);
    await host.virsh(['shutdown', 'web']);
    await powerIs(host, 'shut off');
    await host.virsh(['start', 'web']);
    expect((await bootLines(host, 2)).filter((line) => line.includes('boots 2'))).toHaveLength(1);
  });

  it('keeps its guest running while libvirtd is killed and comes back', async () => {
    const host = lab().host('h1');
    const qemu = await host.pids('qemu-system.*web');
    try {
      await host.killLibvirt({ hold: true });
      expect(await host.libvirtPid()).toBeUndefined();
    } finally {
      await host.releaseLibvirt();
    }
    expect(await host.virsh(['domstate', 'web'])).toBe('running');
    expect(await host.pids('qemu-system.*web')).toEqual(qemu);
  });

  it('falls silent when paused or cut off, and comes back as the same host', async () => {
    const [h1, h2] = [lab().host('h1'), lab().host('h2')];
    const reaches = async () => (await h2.exec(['ping', '-c', '1', '-W', '1', h1.address])).exitCode === 0;
    await eventually('h2 reaches h1', reaches);
    await h1.disconnect();
    try {
      expect(await reaches()).toBe(false);
    } finally {
      await h1.connect();
    }
    // a link takes a moment to come up
    await eventually('h2 reaches h1 again', reaches);
    await h1.pause();
    await h1.unpause();
    expect(await h1.virsh(['domstate', 'web'])).toBe('running');
  });

  it('loses its guests but not its disks when the power goes, and has a new boot id', async () => {
    const host = lab().host('h1');
    const bootId = () => host.readFile('/proc/sys/kernel/random/boot_id');
    const [before, machine] = [await bootId(), await host.readFile('/etc/machine-id')];
    await host.restart();
    expect(await bootId()).not.toBe(before);
    expect(await host.readFile('/etc/machine-id')).toBe(machine);
    expect(await host.virsh(['domstate', 'web'])).toBe('shut off');
    await host.virsh(['start', 'web']);
    await bootLines(host, 3);
    await host.virsh(['destroy', 'web']);
  });
});

describeLab('a lab host with a small disk', { hosts: ['h1'], disk: { limitBytes: 32 * 2 ** 20 } }, (lab) => {
  it('runs out of space', async () => {
    const { exitCode, stderr } = await lab()
      .host('h1')
      .exec(['dd', 'if=/dev/zero', `of=${DISKS}/full`, 'bs=1M', 'count=64']);
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain('No space left on device');
  });
});
