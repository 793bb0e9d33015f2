/** Statistics of real guests: what they do shows in the figures, of the size that virsh tells, and logs of the host are there. */
import { isDeepStrictEqual } from 'node:util';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually, PROGRAMS } from '../harness/processes.ts';

interface Figures {
  readonly name: string;
  readonly overMs: number;
  readonly cpuUsed: number;
  readonly memoryUsedBytes: number;
  readonly residentBytes: number;
  readonly diskWriteBytes: number;
  readonly diskWrites: number;
  readonly diskWriteMs: number;
  readonly netReceiveBytes: number;
  readonly netReceivePackets: number;
}

describeLab('statistics', { hosts: ['h1'] }, (lab) => {
  let c: Cluster;
  const virsh = (...args: string[]) => lab().host('h1').virsh(args);

  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()), { config: 'statisticsInterval: 1s\n' });
    await c.addLabHost(lab().host('h1'));
    await c.waitUp('h1');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base');
    await c.ok('vm', 'clone', 'base', 'web', '--memory', '128MiB', '--ip', '10.77.0.11/24', '--start');
    await c.ok('vm', 'clone', 'base', 'idle', '--memory', '128MiB', '--start');
    await c.serial('web', /^berth-facts: /m);
    await c.serial('idle', /^berth-facts: /m);
  }, 180_000);
  afterAll(() => c?.stop());

  const figures = async (name: string): Promise<Figures | undefined> =>
    (await c.json<Figures[]>('vm', 'top')).find((v) => v.name === name);

  /** Figures once they are as wanted, with what virsh counted of `field` meanwhile, per second. */
  async function both(name: string, field: RegExp, fits: (f: Figures) => boolean) {
    const read = async () => {
      const at = systemClock.monotonic();
      const all = (await virsh('domstats', name)).matchAll(new RegExp(`${field.source}=(\\d+)`, 'g'));
      return { at, sum: [...all].reduce((n, m) => n + Number(m[1]), 0) };
    };
    const shown = async () => {
      const f = await figures(name);
      if (f && f.overMs > 0 && fits(f)) return f;
      throw new Error(JSON.stringify(f));
    };
    const seen = [await eventually(`${name} shows it`, shown)];
    const before = await read();
    await eventually(`${name} shows it in four more samples`, async () => {
      const f = await shown();
      if (!isDeepStrictEqual(f, seen.at(-1))) seen.push(f);
      return seen.length > 4;
    });
    const after = await read();
    return { seen: seen.slice(1), virsh: ((after.sum - before.sum) * 1000) / (after.at - before.at) };
  }
  const mean = (all: readonly Figures[], of: (f: Figures) => number) => all.reduce((n, f) => n + of(f), 0) / all.length;

  /** Types a line at the guest's shell. */
  async function type(line: string): Promise<void> {
    const env = { BERTH_CONFIG: c.configFile };
    const console = execa(process.execPath, [PROGRAMS.berth, 'vm', 'console', 'web'], { env, reject: false });
    let heard = '';
    console.stdout.on('data', (d: Buffer) => (heard += d.toString()));
    await eventually('the guest answers', async () => {
      console.stdin.write('\n');
      return heard.includes('web#');
    });
    console.stdin.write(`${line} echo ty""ped\n`);
    await eventually('the guest has it', async () => heard.includes('typed'));
    console.kill('SIGINT');
    await console;
  }

  it('a guest that burns its CPU shows it, as virsh counts it; one that idles does not', async () => {
    await type('(while :; do :; done) & burn=$!;');
    const { seen, virsh: ns } = await both('web', /cpu\.time/, (f) => f.cpuUsed > 0.3);
    const told = mean(seen, (f) => f.cpuUsed);
    expect(told).toBeGreaterThan((ns / 1e9) * 0.5);
    expect(told).toBeLessThan((ns / 1e9) * 2);
    expect((await figures('idle'))?.cpuUsed).toBeLessThan(told);
    const [first] = await c.json<Figures[]>('vm', 'top', '--sort', 'cpu');
    expect(first?.name).toBe('web');
    await type('kill $burn;');
  });

  it('a guest that writes to its disk shows bytes, operations and how long they took', async () => {
    await type('(while :; do dd if=/dev/zero of=/root/x bs=64k count=32 conv=fsync 2>/dev/null; done) & write=$!;');
    const { seen, virsh: bytes } = await both('web', /block\.\d+\.wr\.bytes/, (f) => f.diskWriteBytes > 100_000);
    const told = mean(seen, (f) => f.diskWriteBytes);
    expect(told).toBeGreaterThan(bytes / 3);
    expect(told).toBeLessThan(bytes * 3);
    for (const f of seen) expect([f.diskWrites > 0, f.diskWriteMs > 0]).toEqual([true, true]);
    await type('kill $write;');
    await eventually('it is over', async () => (await figures('web'))?.diskWriteBytes === 0);
  });

  it('a guest that is sent packets shows them', async () => {
    const pinging = lab().host('h1').exec(['ping', '-q', '-i', '0.02', '-s', '1000', '-w', '120', '10.77.0.11']);
    const { seen } = await both('web', /net\.\d+\.tx\.bytes/, (f) => f.netReceiveBytes > 2_000);
    expect(mean(seen, (f) => f.netReceivePackets)).toBeGreaterThan(2);
    await lab().host('h1').kill('^ping -q', 'SIGINT');
    await pinging;
    const host = await c.json<{ nics: { name: string; kind: string }[] }[]>('host', 'top');
    expect(host[0]?.nics.map((n) => `${n.name} ${n.kind}`)).toContain('br0 bridge');
  });

  it('memory is what QEMU takes, as virsh tells it', async () => {
    const rss = Number(/balloon\.rss=(\d+)/.exec(await virsh('domstats', 'web', '--balloon'))?.[1]) * 1024;
    const f = await figures('web');
    expect(Math.abs((f?.residentBytes ?? 0) - rss) / rss).toBeLessThan(0.25);
    expect(f?.memoryUsedBytes).toBeGreaterThan(0);
  });

  it('a guest that is started anew begins at nothing, and never shows a rate that is absurd', async () => {
    await c.ok('vm', 'stop', 'web', '--force');
    expect(await figures('web')).toBeUndefined();
    await c.ok('vm', 'start', 'web');
    const seen: Figures[] = [];
    await eventually('some samples', async () => {
      const f = await figures('web');
      if (f) seen.push(f);
      return seen.filter((s) => s.overMs > 0).length >= 4;
    });
    for (const f of seen) {
      expect(f.cpuUsed).toBeLessThan(4);
      expect(f.diskWriteBytes).toBeLessThan(2 ** 31);
      expect(f.netReceiveBytes).toBeLessThan(2 ** 31);
    }
    expect(await c.ok('vm', 'stats', 'web')).toMatch(/^cpu .* [▁▂▃▄▅▆▇█]/m);
  });

  it('the logs of its agent, of libvirt and of its QEMU are read', async () => {
    expect(await c.ok('host', 'log', 'h1')).toContain('connected to libvirt');
    expect(await c.ok('host', 'log', 'h1', '--vm', 'web')).toMatch(/starting up libvirt version: [^]*-name guest=web/);
    const libvirt = await c.berth('host', 'log', 'h1', '--source', 'libvirt');
    expect(libvirt.code === 0 || libvirt.err.includes('log_outputs')).toBe(true);
    const kernel = await c.berth('host', 'log', 'h1', '--source', 'kernel', '--tail', '5');
    // a container may not be let see its kernel's
    expect(kernel.code === 0 || kernel.err.includes("the kernel's log of this host cannot be read")).toBe(true);
    await lab().host('h1').run(['ln', '-sf', '/etc/shadow', '/var/log/libvirt/qemu/idle.log']);
    expect((await c.berth('host', 'log', 'h1', '--vm', 'idle')).out).not.toContain('root:');
  });
});
