/** How guests learn who they are, with real processes and simulated disks: flags, definitions, later changes, refusals, seeds that go. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';

let c: Cluster;
const file = (name: string, text: string): string => {
  writeFileSync(join(c.dir, name), text);
  return join(c.dir, name);
};

beforeAll(async () => {
  c = await Cluster.start();
  await c.addSimulated('h1');
  await c.waitUp('h1');
  writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
  await c.ok('image', 'import', join(c.dir, 'base.img'));
});
afterAll(() => c?.stop());

interface Shown {
  readonly spec: {
    readonly identity?: string;
    readonly nics: { readonly address: string; readonly gateway: string }[];
  };
}
const show = (vm: string) => c.json<Shown>('vm', 'show', vm);

it('a clone that is told on its disk has no seed, and its job says what was done', async () => {
  const script = file('first-boot', '#!/bin/sh\necho MARKER-SCRIPT\n');
  const offline = ['--identity', 'offline', '--first-boot', script, '--ip', '10.0.0.7/24', '--gateway', '10.0.0.1'];
  await c.ok('vm', 'clone', 'base', 'web', ...offline);
  expect((await show('web')).spec.identity).toBe('offline');
  const jobs = await c.json<{ id: string; kind: string }[]>('job', 'list');
  const job = await c.ok('job', 'show', jobs.find((j) => j.kind === 'vm.clone')?.id ?? '');
  expect(job).toMatch(
    /customize +.*Debian GNU\/Linux 12 \(bookworm\), host name web, 10\.0\.0\.7\/24 by ifupdown, a new machine id/,
  );
  expect(job).toMatch(/seed +.*not needed/);
  const told = [await c.ok('vm', 'show', 'web', '-o', 'yaml'), await c.ok('audit', 'list', '-o', 'json'), job].join(
    '\n',
  );
  expect(told).not.toContain('MARKER-SCRIPT');
});

it('a definition carries it: shown, applied again without a change, and no other way later', async () => {
  const yaml = await c.ok('vm', 'show', 'web', '-o', 'yaml');
  expect(yaml).toMatch(/^ {2}identity: offline$/m);
  expect(await c.ok('apply', '-f', file('web.yaml', yaml), '--dry-run')).toMatch(/web.*as it shall be/);
  const other = await c.berth('apply', '-f', file('other.yaml', yaml.replace('identity: offline', 'identity: none')));
  expect(other.code).toBe(2);
  expect(other.err).toContain(
    'identity is offline, chosen when the vm was made. What its guest is told now: berth vm customize',
  );
  const made = 'kind: vm\nname: told\nspec:\n  identity: offline\n  disks: [{ image: base }]\n';
  await c.ok('vm', 'create', '-f', file('told.yaml', made));
  expect((await show('told')).spec.identity).toBe('offline');
});

it('the guest of a stopped VM is changed, and its address noted', async () => {
  const said = await c.ok('vm', 'customize', 'web', '--hostname', 'db', '--ip', '10.0.0.8/24', '--serial-login');
  expect(said).toMatch(
    /^vm web customized: Debian GNU\/Linux 12 \(bookworm\), host name db, 10\.0\.0\.8\/24 by ifupdown, a login on its serial port/,
  );
  expect((await show('web')).spec.nics[0]).toMatchObject({ address: '10.0.0.8/24', gateway: '' });
  const events = await c.ok('event', 'list', '-o', 'json');
  expect(events).toContain('the guest of vm web was changed: Debian');
});

it('one that runs is left alone, and what it needs is said', async () => {
  await c.ok('vm', 'start', 'web');
  const { code, err } = await c.berth('vm', 'customize', 'web', '--hostname', 'db');
  expect([code, err]).toEqual([
    4,
    expect.stringMatching(/vm web is running on h1\. Its disk can be changed when it is stopped: .*berth vm stop web/),
  ]);
  expect(await c.ok('vm', 'console', 'web', '--check')).toContain('berth vm customize web --serial-login');
  await c.ok('vm', 'stop', 'web');
});

it('a check of the console offers to put a guest right that is off, and does it when somebody says yes', async () => {
  const customized = async () =>
    (await c.json<{ kind: string; state: string }[]>('job', 'list')).filter((j) => j.kind === 'vm.customize').length;
  await c.ok('vm', 'stop', 'web', '--force');
  const before = await customized();
  const no = await c.berthOnTerminal('\n', 'vm', 'console', 'web', '--check');
  expect(no).toMatch(/web is off\. Give its guest a login on its serial port now\? \[y\/N\]/);
  expect(await customized()).toBe(before);
  const yes = await c.berthOnTerminal('y\n', 'vm', 'console', 'web', '--check');
  expect(yes).toMatch(/vm web customized: .*a login on its serial port/);
  expect(await customized()).toBe(before + 1);
});

it.each([
  [['web'], 2, /nothing was asked for/],
  [['web', '--ip', '10.0.0.9'], 2, /address with a prefix/],
  [['web', '--gateway', '10.0.0.1', '--hostname', 'x'], 2, /go with an address/],
  [['web', 'told', '--hostname', 'x'], 2, /belong to one VM/],
  [['nobody', '--hostname', 'x'], 3, /does not exist/],
  [['web', '--hostname', 'a b'], 2, /cannot be a guest's host name/],
] as const)('vm customize %j ends with code %d and changes nothing', async (args, code, words) => {
  const said = await c.berth('vm', 'customize', ...args);
  expect([said.code, said.err]).toEqual([code, expect.stringMatching(words)]);
});

it('several at once: each is done, or refused and hears of the one that is', async () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const all = await Promise.all(names.map((n) => c.berth('vm', 'customize', 'web', '--hostname', n)));
  expect(all.map((r) => r.code)).toContain(0);
  for (const { code, err } of all)
    if (code !== 0)
      expect([code, err]).toEqual([
        4,
        expect.stringMatching(/web is busy: job job-\w+ \(vm\.customize web\) holds it/),
      ]);
});

it('a seed is there for the first boot, and gone with the next start', async () => {
  await c.ok('vm', 'clone', 'base', 'seeded', '--start');
  const starts = async () => {
    const jobs = await c.json<{ id: string; kind: string; subject: string }[]>('job', 'list');
    const mine = jobs.filter((j) => j.kind === 'vm.start' && j.subject === 'seeded');
    return Promise.all(mine.map(async ({ id }) => (await c.ok('job', 'show', id)).includes('without its seed')));
  };
  expect(await starts()).not.toContain(true);
  await c.ok('vm', 'stop', 'seeded');
  await c.ok('vm', 'start', 'seeded');
  expect((await starts()).filter(Boolean)).toHaveLength(1);
  await c.ok('vm', 'stop', 'seeded');
  await c.ok('vm', 'delete', 'seeded');
  await c.quiet();
});
