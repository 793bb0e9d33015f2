/** What Berth sees and sets of the machines themselves, on hosts with a real kernel: checks, hardware, tuning. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

interface Checked {
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[];
  readonly clockSkewMs: number;
}
interface Hardware {
  readonly cpu: { readonly sockets: number; readonly cores: number; readonly threads: number };
  readonly numa: readonly { readonly cpus: string; readonly memoryBytes: string }[];
  readonly nics: readonly { readonly name: string; readonly mac: string; readonly link: string }[];
  readonly disks: readonly { readonly name: string; readonly sizeBytes: string }[];
}

interface Tuning {
  readonly settings: readonly { readonly name: string; readonly value: string; readonly wanted?: string }[];
}

describeLab('the machines of hosts', { hosts: ['h1'] }, (lab) => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    await c.addLabHost(lab().host('h1'));
    await c.waitUp('h1');
  }, 120_000);
  afterAll(() => c?.stop());

  const shell = (script: string) => lab().host('h1').run(['sh', '-c', script]);

  it('are checked when somebody asks: what is missing is named, and found as soon as it is there', async () => {
    const look = async () => {
      const { checks, clockSkewMs } = await c.json<Checked>('host', 'check', 'h1');
      expect(Math.abs(clockSkewMs)).toBeLessThan(60_000);
      return new Map(checks.map((k) => [k.name, k]));
    };
    await shell('mv /usr/bin/swtpm /usr/bin/swtpm.away');
    const before = await look().finally(() => shell('mv /usr/bin/swtpm.away /usr/bin/swtpm'));
    for (const name of ['programs', 'libvirt', 'libvirt-version', 'qemu-version', 'data-directory', 'clock-skew'])
      expect(before.get(name)).toMatchObject({ ok: true });
    expect(before.get('own-name')?.detail).toContain(lab().host('h1').address);
    expect(before.get('tpm')).toMatchObject({ ok: false });
    expect((await look()).get('tpm')).toMatchObject({ ok: true });
  });

  it('lose a program, and both the command on the host and the controller say which, with its package', async () => {
    const host = lab().host('h1');
    await shell('mv /usr/bin/genisoimage /usr/bin/genisoimage.away');
    const look = async () => [await host.agentCommand(['check']), await c.berth('host', 'check', 'h1')] as const;
    const [there, here] = await look().finally(() => shell('mv /usr/bin/genisoimage.away /usr/bin/genisoimage'));
    expect([there.exitCode, here.code]).toEqual([1, 1]);
    for (const text of [there.stdout, here.out])
      expect(text).toMatch(/✘ programs +not installed: genisoimage; apt-get install genisoimage/);
    // all lines but those that take another host or the controller
    const names = (text: string) => [...text.matchAll(/^ *[✔!✘] (\S+)/gmu)].map(([, name]) => name);
    expect(names(here.out)).toEqual([...names(there.stdout), 'clock-skew']);
  });

  it('show their hardware as the kernel has it', async () => {
    const h = await c.json<Hardware>('host', 'hardware', 'h1');
    expect(String(h.cpu.threads)).toBe((await shell('nproc --all')).trim());
    expect(h.cpu.sockets).toBeLessThanOrEqual(h.cpu.cores);
    const mac = (await shell('cat /sys/class/net/eth0/address')).trim();
    expect(h.nics.find((n) => n.name === 'eth0')).toMatchObject({ mac, link: 'up' });
    expect(h.nics.map((n) => n.name)).not.toContain('br0');
    const disks = (await shell('for d in /sys/block/*; do [ -e $d/device ] && basename $d; done; true')).split('\n');
    expect(h.disks.map((d) => d.name).sort()).toEqual(disks.filter((d) => d !== '').sort());
  });

  it('are tuned where their kernel lets them, again after it forgot, and refuse in words where it does not', async () => {
    const host = lab().host('h1');
    const settings = async () => new Map((await c.json<Tuning>('host', 'tune', 'h1')).settings.map((s) => [s.name, s]));
    // /sys is read-only in a container, and the machine's own
    const refused = await c.berth(
      'host',
      'tune',
      'h1',
      '--thp',
      (await settings()).get('thp')?.value === 'always' ? 'madvise' : 'always',
    );
    expect([refused.code, refused.err]).toEqual([
      4,
      expect.stringMatching(
        /^berth: host h1 does not let its agent set thp: \/sys\/kernel\/mm\/transparent_hugepage\/enabled is read-only there/,
      ),
    ]);
    expect((await settings()).get('thp')).not.toHaveProperty('wanted');
    // so a part of it of its own, which forgets with a reboot as the kernel does
    const fresh =
      'mount -t tmpfs tmpfs /sys/kernel/mm/ksm && echo 0 >/sys/kernel/mm/ksm/run && echo 0 >/sys/kernel/mm/ksm/pages_sharing';
    await shell(fresh);
    expect(await c.ok('host', 'tune', 'h1', '--ksm', 'on')).toMatch(/^host h1 tuned: ksm on /);
    expect((await shell('cat /sys/kernel/mm/ksm/run')).trim()).toBe('1');
    await host.stopAgent('SIGKILL');
    await shell('echo 0 >/sys/kernel/mm/ksm/run');
    await host.startAgent();
    await eventually('KSM is on again', async () => (await shell('cat /sys/kernel/mm/ksm/run')).trim() === '1');
    await c.waitUp('h1');
    await shell('echo 0 >/sys/kernel/mm/ksm/run');
    expect(await c.ok('host', 'tune', 'h1')).toMatch(
      /^ksm +off +on ! [^]*Not as wanted: ksm\. Set it again: berth host tune h1 --ksm on$/m,
    );
  });
});
