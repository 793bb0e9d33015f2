/** `npm run quickstart -- --simulate` as a person runs it; the one with real hosts is test/lab/quickstart.test.ts's. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Checkout } from '../harness/checkout.ts';
import { eventually } from '../harness/processes.ts';

let checkout: Checkout;

interface Process {
  readonly pid: number;
  readonly line: string;
}

/** The processes that work in the checkout. */
function working(): Process[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const all = pids.map((pid) => ({ pid: Number(pid), line: commandLine(pid) }));
  return all.filter((p) => p.line.includes(`${checkout.root}/.quickstart`));
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return ''; // it has just ended
  }
}

interface Row {
  readonly name: string;
  readonly state: string;
  readonly host: string;
}
const list = async (...what: string[]): Promise<Row[]> =>
  JSON.parse((await checkout.berth(...what, 'list', '-o', 'json')).out) as Row[];

function inACheckoutOf(user: 'myself' | 'nobody'): void {
  beforeAll(async () => {
    checkout = await Checkout.make(user);
  });
  afterAll(async () => {
    await checkout.quickstart('--down');
    checkout.remove();
  });
}

describe.each(['myself', 'nobody'] as const)('the simulated quickstart, run by %s', { timeout: 180_000 }, (user) => {
  inACheckoutOf(user);

  it('shows every phase, two guests on different hosts that know their names, and what to do next', async () => {
    const { code, out, err } = await checkout.quickstart('--simulate');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    for (const phase of ['controller', 'hosts h1 h2 h3', 'image base', 'vm web', 'vm db', 'guests'])
      expect(out).toMatch(new RegExp(`^ ✔ ${phase} .* \\d.* (ms|s)$`, 'm'));
    expect(out).toMatch(/^web says: "web 10\.77\.0\.11 up .*"$/m);
    expect(out).toMatch(/^db says: "db 10\.77\.0\.12 up .*"$/m);
    expect(out).toContain('Try:  npx berth vm list');
    expect(out).toContain('Stop: npm run quickstart -- --down');
  });

  it('leaves a berth command that works without further set-up', async () => {
    const [vms, hosts] = [await list('vm'), await list('host')];
    expect(vms.map((v) => [v.name, v.state])).toEqual([
      ['db', 'running'],
      ['web', 'running'],
    ]);
    expect(new Set(vms.map((v) => v.host)).size).toBe(2);
    expect(hosts.map((h) => [h.name, h.state])).toEqual([
      ['h1', 'up'],
      ['h2', 'up'],
      ['h3', 'up'],
    ]);
  });

  it('finds what runs when it is run again', async () => {
    const before = working();
    const { code, out } = await checkout.quickstart('--simulate');
    expect(code).toBe(0);
    expect(out).toMatch(/vm web +runs on/);
    expect(working()).toEqual(before);
  });

  it('leaves nothing after --down, and says so once only', async () => {
    expect((await checkout.quickstart('--down')).out).toContain('controller and 3 hosts removed; nothing is left');
    expect(working()).toEqual([]);
    expect(existsSync(join(checkout.root, '.quickstart'))).toBe(false);
    expect(existsSync(join(checkout.home, '.config', 'berth'))).toBe(false);
    expect((await checkout.quickstart('--down')).out).toContain('nothing was running');
  });
});

describe('the quickstart', { timeout: 180_000 }, () => {
  inACheckoutOf('nobody');

  it('says in one line that hosts in containers are not for everybody, and what is', async () => {
    if (process.getuid?.() !== 0) return expect(process.getuid?.()).toBeGreaterThan(0); // the lab's tests show this machine's way
    const { code, err } = await checkout.quickstart();
    expect(code).toBe(1);
    expect(err.trim()).toMatch(
      /^quickstart: the lab can't run here: .*\. Without it: npm run quickstart -- --simulate$/,
    );
    expect(working()).toEqual([]);
  });

  it.each([
    ['--hosts', '0'],
    ['--hosts', 'x'],
    ['--hosts'],
    ['--hosts', '51'],
    ['--name', 'A/b'],
    ['--name'],
    ['--bogus'],
  ])('refuses %s %s before it does anything', async (...flags) => {
    const { code, out, err } = await checkout.quickstart('--simulate', ...flags);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(/^quickstart: wrong options/);
    expect(existsSync(join(checkout.root, '.quickstart'))).toBe(false);
  });

  it('goes on where one was killed, with as many hosts as asked for; a second one at the same time is refused', async () => {
    const killed = checkout.start('deploy/quickstart.js', '--simulate', '--hosts', '2');
    await eventually('its hosts are being made', async () => existsSync(join(checkout.root, '.quickstart/h2')));
    expect((await checkout.quickstart('--simulate')).err).toMatch(/another quickstart is at work \(process \d+\)/);
    killed.kill('SIGKILL');
    await killed;
    expect(await checkout.quickstart('--simulate', '--hosts', '2')).toMatchObject({ code: 0, err: '' });
    expect((await list('host')).map((h) => h.state)).toEqual(['up', 'up']);
  });

  it('waits for the end of an import that lost its sender with a quickstart that was killed', async () => {
    await checkout.quickstart('--down');
    const killed = checkout.start('deploy/quickstart.js', '--simulate', '--hosts', '2');
    let said = '';
    killed.stdout?.on('data', (data: Buffer) => (said += data.toString()));
    await eventually('its hosts are up', async () => said.includes(' ✔ hosts h1 h2'), 120_000);
    killed.kill('SIGKILL');
    await killed;
    expect(await checkout.quickstart('--simulate', '--hosts', '2')).toMatchObject({ code: 0, err: '' });
  });

  it('lives beside another one of another name', async () => {
    const other = await checkout.quickstart('--simulate', '--hosts', '1', '--name', 'two');
    expect(other).toMatchObject({ code: 0, err: '' });
    expect(other.out).toContain('Stop: npm run quickstart -- --down --name two');
    expect((await list('host')).map((h) => h.name)).toEqual(['h1']);
    expect((await checkout.quickstart('--down', '--name', 'two')).out).toContain('controller and 1 host removed');
    expect((await list('host')).map((h) => h.name)).toEqual(['h1', 'h2']);
  });

  it.each(['berth-controller.js', '/h1/'])('mends it when %s is killed under it', async (what) => {
    process.kill(working().find((p) => p.line.includes(what))!.pid, 'SIGKILL');
    expect(await checkout.quickstart('--simulate', '--hosts', '2')).toMatchObject({ code: 0, err: '' });
    expect((await list('vm')).map((v) => v.state)).toEqual(['running', 'running']);
  });
});
