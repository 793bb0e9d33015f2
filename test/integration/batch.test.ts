/** Many clones of one request with real processes: what people type and see, kills in the middle, and a thousand rows. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { eventually } from '../harness/processes.ts';

let c: Cluster;
beforeAll(async () => {
  c = await Cluster.start();
  for (const name of ['h1', 'h2', 'h3']) await c.addSimulated(name);
  await c.waitUp('h1', 'h2', 'h3');
  writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
  await c.ok('image', 'import', join(c.dir, 'base.img'));
});
afterAll(() => c?.stop());

interface Vm {
  readonly name: string;
  readonly state: string;
  readonly host: string;
  readonly spec: { readonly nics: readonly { address: string; mac: string }[]; hardware?: { graphics: unknown[] } };
}
const vms = async (start: string) => (await c.json<Vm[]>('vm', 'list')).filter((v) => v.name.startsWith(start));
const file = (name: string, ...lines: readonly string[]): string => {
  const path = join(c.dir, name);
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
};
const clone = (...args: readonly string[]) => c.berth('vm', 'clone', 'base', '--memory', '16MiB', ...args);

describe('a range', () => {
  const range = ['web-{01..04}', '--ip-range', '10.0.0.10-10.0.0.40/24', '--gateway', '10.0.0.1'];

  it('gives each an address, and a dry run shows just that; names in braces are expanded', async () => {
    const dry = await clone(...range, '--dry-run');
    expect(dry.out.split('\n').slice(0, 2)).toEqual([
      expect.stringMatching(/^NAME +HOST +ADDRESS +MAC$/),
      expect.stringMatching(/^web-01 +h\d +10\.0\.0\.10\/24 +52:54:00:/),
    ]);
    expect([dry.code, dry.err]).toEqual([0, '4 of 4 would be made.']);
    expect(await vms('web-')).toEqual([]);
    const { out, err, code } = await clone(...range);
    expect(out.split('\n').sort()).toEqual(
      ['01', '02', '03', '04'].map((n) => expect.stringMatching(`^vm web-${n} created on h\\d +\\[ {2}OK {2}\\]$`)),
    );
    expect([code, err]).toEqual([0, expect.stringMatching(/^4 of 4 done in /)]);
    const made = await vms('web-');
    expect(new Set(made.map((v) => v.host)).size).toBe(3);
    for (const v of made) expect(dry.out).toContain(`${v.spec.nics[0]?.address}  ${v.spec.nics[0]?.mac}`);
  });

  it('is run again without harm, and goes around what others have', async () => {
    const again = await clone(...range);
    expect(again.out.split('\n')[0]).toMatch(/^vm web-01 is on h\d already +\[ {2}OK {2}\]$/);
    expect([again.code, again.out.split('\n').length]).toEqual([0, 4]);
    const more = await clone('more', '--ip-range', '10.0.0.12-10.0.0.40/24', '--dry-run');
    expect(more.out).toMatch(/^more +h\d +10\.0\.0\.14\/24/m);
    expect(more.err).toContain('10.0.0.12 is left out: vm web-03 has it');
    const few = await clone('x-{1..3}', '--ip-range', '10.0.0.10-14/24');
    expect([few.code, few.err]).toEqual([
      1,
      expect.stringMatching(/has 5 addresses, 1 of them free, and 3 VMs need one/),
    ]);
  });

  it('shows each VM in its job', async () => {
    const [job] = await c
      .json<{ id: string; kind: string; subject: string }[]>('job', 'list')
      .then((all) => all.filter((j) => j.kind === 'vm.batch'));
    expect(job?.subject).toBe('web-01 and 3 more');
    const shown = await c.ok('job', 'show', job?.id ?? '');
    expect(shown).toMatch(/✔ rows +4 made/);
    expect(shown).toMatch(/✔ {3}web-01 +created on h\d/);
  });
});

it('says the identity of one VM at the command line', async () => {
  await c.ok('vm', 'clone', 'base', 'test02', '--ip', '192.168.174.13/16', '--vnc-port', '5902', '--memory', '16MiB');
  const [vm] = await vms('test02');
  expect(vm?.spec.nics[0]?.address).toBe('192.168.174.13/16');
  expect(vm?.spec.hardware?.graphics).toMatchObject([{ type: 'vnc', port: 5902, listen: '127.0.0.1' }]);
  const taken = await clone('test03', '--ip', '192.168.174.13/24');
  expect([taken.code, taken.err]).toEqual([
    4,
    expect.stringMatching(/^berth: address 192\.168\.174\.13 is taken by vm test02 on br0/),
  ]);
  expect((await clone('test03', '--vnc-port', '5902', '--host', vm?.host ?? '')).err).toMatch(
    /port 5902 is taken by vm test02/,
  );
  await c.ok('vm', 'clone', 'base', 'test03', '--ip', '192.168.174.13/24', '--allow-taken-ip', '--memory', '16MiB');
});

describe('a table', () => {
  it('is refused as a whole, every fault with its line', async () => {
    const table = file(
      'bad.csv',
      'name,ip,host,mac',
      'a,10.1.0.5/24,,',
      'b,10.1.0.5/24,,',
      'a,,,',
      'web-01,10.1.0.6/24,,',
      'd,,h9,',
      'e,,,52:54:00:00:00:0g',
    );
    const { code, err, out } = await clone('--from', table);
    expect([code, out]).toEqual([2, '']);
    expect(err.split('\n').map((l) => l.trim())).toEqual([
      'berth: nothing was made:',
      'line 3 (b): address 10.1.0.5 is also that of line 2 (a)',
      'line 4 (a): name a is also that of line 2 (a)',
      'line 5 (web-01): vm web-01 is there already, with address 10.0.0.10/24 instead of 10.1.0.6/24',
      expect.stringMatching(/^line 6 \(d\): host h9 does not exist/),
      expect.stringMatching(/^line 7 \(e\): "52:54:00:00:00:0g" is not a MAC address/),
    ]);
    const dry = await clone('--from', table, '--dry-run');
    expect([dry.code, dry.err.split('\n').at(-1)]).toEqual([4, 'Nothing would be made: 5 things stand in the way.']);
    expect((await vms('')).map((v) => v.name)).not.toContain('d');
  });

  it('comes from a pipe too, and is not mixed with names', async () => {
    const table = 'name,vcpus\npiped-1,2\npiped-2,\n';
    const said = await c.berthWith(
      { input: table },
      'vm',
      'clone',
      'base',
      '--from',
      '-',
      '--memory',
      '16MiB',
      '--vnc-port',
      '5910+',
    );
    expect([said.code, said.err]).toEqual([0, expect.stringMatching(/^2 of 2 done/)]);
    expect((await vms('piped-')).map((v) => v.spec.hardware?.graphics)).toMatchObject([
      [{ port: 5910 }],
      [{ port: 5911 }],
    ]);
    expect(await clone('x', '--from', '-')).toMatchObject({ code: 2 });
    expect((await clone('--from', join(c.dir, 'none.csv'))).err).toMatch(
      /can't read .*none\.csv: there is no such file/,
    );
  });
});

it('gives clones of a VM the ports that they were to have, when the same command finishes what is missing', async () => {
  await c.ok('vm', 'create', 'model', '--disk', '1MiB', '--memory', '16MiB');
  const command = ['vm', 'clone', 'model', 'twin-{1..3}', '--vnc-port', '5920+', '--memory', '16MiB'];
  await c.ok(...command);
  await c.ok('vm', 'delete', 'twin-2');
  await c.ok(...command);
  const ports = (await vms('twin-')).map((v) => [v.name, v.spec.hardware?.graphics]);
  expect(ports).toMatchObject([
    ['twin-1', [{ port: 5920 }]],
    ['twin-2', [{ port: 5921 }]],
    ['twin-3', [{ port: 5922 }]],
  ]);
});

describe('in the middle of it', () => {
  const table = (start: string, n: number) =>
    file(
      `${start}.csv`,
      'name,host',
      ...Array.from({ length: n }, (_, i) => `${start}${i},${i % 3 === 2 ? 'h3' : `h${(i % 3) + 1}`}`),
    );
  const batch = async () =>
    (await c.json<{ id: string; kind: string; state: string }[]>('job', 'list', '--open')).find(
      (j) => j.kind === 'vm.batch',
    );

  it('a host that stands still holds up its own rows; cancelling keeps what is made and takes back the rest', async () => {
    c.agents.get('h3')!.signal('SIGSTOP');
    try {
      const jobId = (await clone('--from', table('c', 30), '--no-wait')).out.trim();
      await eventually(
        'the others are made',
        async () => (await vms('c')).filter((v) => v.state === 'stopped').length === 20,
      );
      expect(await batch()).toMatchObject({ id: jobId, state: 'waiting' });
      expect((await clone('c0', 'c2', '--atomic')).err).toMatch(
        /row 2 \(c2\): vm c2 is being made\. Wait for it: berth job watch job-/,
      );
      c.agents.get('h3')!.signal('SIGCONT');
      await c.berth('job', 'cancel', jobId);
    } finally {
      c.agents.get('h3')!.signal('SIGCONT');
    }
    await c.quiet();
    expect((await vms('c')).map((v) => v.state)).toEqual((await vms('c')).map(() => 'stopped'));
    const { code, err } = await clone('--from', table('c', 30));
    expect([code, err]).toEqual([0, expect.stringMatching(/^30 of 30 done/)]);
  });

  it('a controller that is killed goes on where it was; the command that was killed is not needed', async () => {
    const jobId = (await clone('--from', table('k', 60), '--no-wait')).out.trim();
    await eventually('some are made', async () => (await vms('k')).some((v) => v.state === 'stopped'));
    await c.controller.end('SIGKILL');
    c.controller.start();
    await c.waitUp('h1', 'h2', 'h3');
    await c.quiet();
    expect((await vms('k')).map((v) => v.state)).toEqual(Array(60).fill('stopped'));
    expect(await c.ok('job', 'show', jobId)).toMatch(/✔ rows +60 made/);
  });
});

it('makes hundreds, a bounded number at a time', async () => {
  const table = file(
    'n.csv',
    'name,ip',
    ...Array.from({ length: 400 }, (_, i) => `n${i},10.${8 + (i >> 8)}.${i & 255}.1/16`),
  );
  const started = performance.now();
  const dry = await clone('--from', table, '--dry-run');
  const checkedMs = performance.now() - started;
  expect([dry.code, dry.err]).toEqual([0, '400 of 400 would be made.']);
  const { code, err } = await clone('--from', table);
  console.log(`400 rows: checked in ${Math.round(checkedMs)} ms with the command; ${err}`);
  expect([code, err]).toEqual([0, expect.stringMatching(/^400 of 400 done in /)]);
}, 300_000);
