/** Definitions with real processes: made, shown, changed and applied at the command line; who may, two at once, and bad files. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';

let c: Cluster;
beforeAll(async () => {
  c = await Cluster.start();
  await c.addSimulated('h1');
  await c.addSimulated('h2');
  await c.waitUp('h1');
  await c.waitUp('h2');
  writeFileSync(file('base.img'), rawDisk(4 * 2 ** 20));
  await c.ok('image', 'import', file('base.img'));
});
afterAll(() => c?.stop());

const file = (name: string): string => join(c.dir, name);
const write = (name: string, text: string): string => {
  writeFileSync(file(name), text);
  return file(name);
};
const yaml = (vm: string) => c.ok('vm', 'show', vm, '-o', 'yaml');

it('makes what virt-install users say, and shows it as a file that changes nothing when it is applied', async () => {
  const secret = write('vnc.password', 'hunter2\n');
  await c.ok(
    ...['vm', 'create', 'full', '--memory', '64MiB,max=128MiB', '--vcpus', '1,max=2', '--machine', 'pc', '--start'],
    ...['--disk', 'size=16MiB,bus=scsi,cache=none', '--disk', '8MiB', '--nic', 'br0,model=e1000,mac=52:54:00:aa:00:01'],
    ...['--nic', 'br0', '--cdrom', 'empty,bus=ide', '--video', 'cirrus', '--sound', 'ich6', '--usb-tablet'],
    ...['--graphics', 'vnc,listen=0.0.0.0', '--vnc-port', '5902', '--graphics-password-file', secret],
    ...['--boot', 'disk,network,menu=true', '--cpu', 'host-model,cores=2', '--clock', 'Europe/Zurich'],
    ...['--watchdog', 'i6300esb,action=reset', '--set', 'lifecycle.onCrash=restart', '--label', 'team=a'],
  );
  const text = await yaml('full');
  expect(text).not.toContain('hunter2');
  for (const line of ['memory: 64MiB', 'maxMemory: 128MiB', 'machine: pc', 'passwordSet: true', 'port: 5902'])
    expect(text).toContain(line);
  expect(text).toMatch(/target: sda\n\s+size: 16MiB\n\s+bus: scsi\n\s+cache: none/);
  const same = await c.berth('apply', '--dry-run', '-f', write('full.yaml', text));
  expect([same.code, same.out]).toEqual([0, 'vm full: as it shall be']);
  // with its status cut off, and only what matters of it, too
  expect((await c.berth('apply', '--dry-run', '-f', write('part.yaml', text.split('status:')[0]!))).code).toBe(0);
  const audit = await c.ok('audit', 'list', '-o', 'json');
  const told = audit + (await c.ok('job', 'list', '-o', 'json')) + (await c.ok('event', 'list', '-o', 'json'));
  expect(told).not.toContain('hunter2');
});

describe('berth apply', () => {
  it('takes folders, several documents and every kind; says what would change; makes it so; and twice is once', async () => {
    mkdirSync(join(c.dir, 'site', 'vms'), { recursive: true });
    write('site/users.yml', 'kind: user\nname: eva\nspec:\n  roles: [{role: operator, selector: team=a}]\n');
    write('site/hosts.yaml', 'kind: host\nname: h2\nlabels: {zone: b}\nspec: {maintenance: true}\n');
    write(
      'site/vms/web.yaml',
      `kind: vm
name: web
labels: {team: a}
spec: {memory: 64MiB, disks: [{image: base}]}
---
kind: vm
name: db
spec: {memory: 64MiB, maxVcpus: 4, disks: [{size: 16MiB}], nics: []}
---
kind: image
name: base
`,
    );
    const first = await c.berth('apply', '--dry-run', '-f', file('site'));
    expect(first.code).toBe(1);
    expect(first.out).toMatch(
      /^user eva: to be made\n {2}role {2}- → operator on team=a\nhost h2:\n {2}labels.zone {2}- → b\n/,
    );
    expect(first.out).toMatch(/image base: as it shall be\nvm web: to be made on h\d\nvm db: to be made on h\d$/);
    expect((await c.berth('vm', 'show', 'web')).code).toBe(3);
    await c.ok('apply', '-f', file('site'));
    expect(await c.ok('vm', 'list', '-o', 'name')).toMatch(/^db$[^]*^web$/m);
    expect(await c.ok('host', 'show', 'h2')).toMatch(/maintenance/);
    const again = await c.berth('apply', '--dry-run', '-f', file('site'));
    expect([again.code, again.out.split('\n').filter((l) => !/as it shall be$/.test(l))]).toEqual([0, []]);
    write('site/vms/web.yaml', 'kind: vm\nname: web\nspec: {memory: 128MiB, vcpus: 2}\n');
    const changed = await c.berth('apply', '-f', file('site/vms'));
    expect(changed.out).toMatch(/^vm web:\n {2}vcpus {3}1 → 2\n {2}memory {2}64MiB → 128MiB\n/);
    expect(await yaml('web')).toMatch(/labels:\n {2}team: a\n/);
    write('site/hosts.yaml', 'kind: host\nname: h2\nspec: {maintenance: false}\n');
    await c.ok('apply', '-f', file('site/hosts.yaml'));
    await c.waitUp('h2');
  });

  it('tells every fault of every file with its line, and does nothing', async () => {
    mkdirSync(file('bad'));
    write('bad/a.yaml', 'kind: vm\nname: new1\nspec:\n  memroy: 1GiB\n  disks:\n    - size: 10\n');
    write(
      'bad/b.yaml',
      'kind: vmm\nname: x\n---\nkind: vm\nname: new2\nspec: {disks: [{size: 16MiB}]}\n---\nkind: vm\nname: new2\n',
    );
    const r = await c.berth('apply', '-f', file('bad'));
    expect(r.code).toBe(2);
    const lines = r.err
      .trim()
      .split('\n')
      .map((l) => l.replace(/^(berth:| +) ?/, '').replace(c.dir, ''));
    expect(lines).toEqual([
      '/bad/a.yaml:4: spec.memroy is no field here: did you mean memory?',
      expect.stringMatching(/^\/bad\/a.yaml:6: spec.disks.0.size "10" is not a size/),
      '/bad/b.yaml:1: kind "vmm" cannot be applied: did you mean vm?',
      expect.stringMatching(/^\/bad\/b.yaml:9: vm new2 stands at .*b.yaml:4 already$/),
    ]);
    const late = write(
      'late.yaml',
      'kind: vm\nname: new3\nspec:\n  disks:\n    - size: 16MiB\n      io: native\n      cache: writeback\n',
    );
    const refused = await c.berth('apply', '-f', late);
    expect(refused.err).toMatch(/late\.yaml:6: vm new3: disks\.0\.io native needs cache none/);
    const host = await c.berth('apply', '-f', write('h9.yaml', 'kind: host\nname: h9\n'));
    expect([host.code, host.err]).toEqual([
      3,
      expect.stringMatching(/h9.yaml:2: host h9 does not exist, .*berth host add h9/),
    ]);
    const image = await c.berth('apply', '-f', write('i9.yaml', 'kind: image\nname: i9\n'));
    expect(image.err).toMatch(/image i9 does not exist, .*berth image import FILE --name i9/);
    expect(await c.ok('vm', 'list', '-o', 'name')).not.toMatch(/new/);
  });

  it('reads standard input', async () => {
    const r = await c.berthWith(
      { input: 'kind: vm\nname: db\nspec: {memory: 80MiB, maxVcpus: 4}\n' },
      'apply',
      '-f',
      '-',
    );
    expect([r.code, r.err]).toEqual([0, '']);
    expect(await yaml('db')).toMatch(/memory: 80MiB/);
  });
});

describe('berth vm create -f', () => {
  it('makes what is in it, once', async () => {
    const path = write('one.yaml', 'kind: vm\nname: one\nspec: {memory: 64MiB, disks: [{size: 16MiB}]}\n');
    await c.ok('vm', 'create', '-f', path, '--host', 'h2');
    expect(await c.ok('vm', 'show', 'one')).toMatch(/host: +h2/);
    const again = await c.berth('vm', 'create', '-f', path);
    expect([again.code, again.err]).toEqual([
      4,
      expect.stringMatching(/vm one exists already: to change it, berth apply -f/),
    ]);
    expect((await c.berth('vm', 'create', '-f', path, '--memory', '1GiB')).err).toMatch(/--memory beside a file/);
  });
});

describe('berth vm set', () => {
  it('gives a VM that runs at once what it can take, and shows what waits until it has started anew', async () => {
    await c.ok('vm', 'start', 'db');
    const r = await c.ok('vm', 'set', 'db', '--vcpus', '2', '--machine', 'pc', '--run-policy', 'always');
    expect(r).toMatch(/changed; at its next start: machine/);
    expect(await c.ok('vm', 'show', 'db')).toMatch(/pending at next start: +machine - → pc/);
    expect(await c.ok('vm', 'list')).toMatch(/db .*changes at its next start: machine/);
    await c.ok('vm', 'stop', 'db', '--force');
    expect(await c.ok('vm', 'show', 'db')).not.toMatch(/pending/);
    await c.ok('vm', 'start', 'db');
    expect(await c.ok('vm', 'show', 'db')).not.toMatch(/pending/);
    expect(await c.ok('vm', 'set', 'db', '--vcpus', '2')).toMatch(/is so/);
  });

  it('puts media in and out, and adds disks and cards', async () => {
    await c.ok('vm', 'set', 'db', '--cdrom', 'empty', '--disk', '8MiB', '--nic', 'br0');
    await c.ok('vm', 'stop', 'db', '--force');
    await c.ok('vm', 'start', 'db');
    expect(await c.ok('vm', 'insert', 'db', 'base')).toMatch(/changed/);
    expect(await c.ok('vm', 'show', 'db')).toMatch(/cdrom hda: +base, ide/);
    const held = await c.berth('image', 'delete', 'base');
    expect(held.code).toBe(4);
    await c.ok('vm', 'eject', 'db');
    expect(await c.ok('vm', 'eject', 'db')).toMatch(/is so/);
    expect((await c.berth('vm', 'eject', 'web')).err).toMatch(/no CD-ROM drive: berth vm set web --cdrom/);
  });

  it('of two who change the same, each is done or refused, and none is lost half-way', async () => {
    const all = await Promise.all(
      [1, 2, 3, 4].map((n) => c.berth('vm', 'set', 'one', '--memory', `${64 + 16 * n}MiB`)),
    );
    expect(all.some((r) => r.code === 0)).toBe(true);
    for (const r of all)
      if (r.code !== 0) expect([r.code, r.err]).toEqual([4, expect.stringMatching(/busy|somebody else/)]);
    expect((await c.berth('vm', 'show', 'one')).code).toBe(0);
  });

  it('says no to passwords in command lines, unknown guests and fields', async () => {
    expect((await c.berth('vm', 'set', 'one', '--graphics', 'vnc,password=x')).err).toMatch(/--graphics-password-file/);
    expect((await c.berth('vm', 'set', 'one', '--os-variant', 'rehl7')).err).toMatch(/Did you mean rhel7\?/);
    expect((await c.berth('vm', 'set', 'one', '--set', 'cpu.pining=1')).err).toMatch(
      /cpu.pining is no field here: did you mean pinning\?/,
    );
    expect(await c.ok('vm', 'guests', 'windows 11')).toMatch(/^win11 /m);
  });

  it('takes an operator of that VM, who stays one', async () => {
    await c.ok('user', 'add', 'vic', '--role', 'operator', '--selector', 'team=a');
    writeFileSync(file('vic.token'), await c.ok('token', 'create', 'vic'));
    const env = { BERTH_CONFIG: file('vic.yaml') };
    await c.berthWith({ env }, 'login', '--token-file', file('vic.token'));
    expect((await c.berthWith({ env }, 'vm', 'set', 'web', '--vcpus', '1')).code).toBe(0);
    expect((await c.berthWith({ env }, 'vm', 'set', 'db', '--vcpus', '1')).code).toBe(3);
    const out = write('out.yaml', 'kind: vm\nname: web\nlabels: {team: b}\n');
    expect((await c.berthWith({ env }, 'apply', '-f', out)).code).toBe(6);
    // a device of the host is not theirs to give away: neither to a new VM nor to one of their own
    const device = ['--host-device', '0000:03:00.0'];
    const taken = await c.berthWith({ env }, 'vm', 'set', 'web', ...device);
    expect([taken.code, taken.err]).toEqual([
      6,
      expect.stringMatching(/PCI device 0000:03:00.0 .* takes the role admin/),
    ]);
    const made = await c.berthWith({ env }, 'vm', 'create', 'thief', '--disk', '8MiB', '--label', 'team=a', ...device);
    expect(made.code).toBe(6);
    expect((await c.berthWith({ env }, 'vm', 'set', 'web', '--vcpus', '1')).code).toBe(0);
  });
});

describe('berth vm edit', () => {
  /** An editor that does what a shell script says to the file. */
  const editor = (script: string): { EDITOR: string; VISUAL: string } => {
    const path = write('editor.sh', `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o755);
    return { EDITOR: path, VISUAL: '' };
  };

  it('makes what was written so, or leaves everything when nothing was', async () => {
    const nothing = await c.berthWith({ env: editor('true') }, 'vm', 'edit', 'one', '--yes');
    expect([nothing.code, nothing.err]).toEqual([0, expect.stringMatching(/Nothing was changed/)]);
    const r = await c.berthWith(
      { env: editor(`sed -i 's/^  memory: .*/  memory: 256MiB/' "$1"`) },
      'vm',
      'edit',
      'one',
      '-y',
    );
    expect([r.code, r.out]).toEqual([0, expect.stringMatching(/memory {2}\d+MiB → 256MiB/)]);
    expect(await yaml('one')).toMatch(/memory: 256MiB/);
  });

  it('keeps what was written when it is wrong or refused, and says where', async () => {
    const bad = await c.berthWith(
      { env: editor(`sed -i 's/^  memory: .*/  memroy: 1GiB/' "$1"`) },
      'vm',
      'edit',
      'one',
      '-y',
    );
    expect([bad.code, bad.err]).toEqual([
      2,
      expect.stringMatching(/spec.memroy is no field here: did you mean memory/),
    ]);
    const kept = /berth apply -f (\S+)/.exec(bad.err)?.[1] ?? '';
    expect(readFileSync(kept, 'utf8')).toMatch(/memroy: 1GiB/);
    const unasked = await c.berthWith(
      { env: editor(`sed -i 's/^  memory: .*/  memory: 128MiB/' "$1"`) },
      'vm',
      'edit',
      'one',
    );
    expect(unasked.err).toMatch(/Nothing was changed. What you wrote is kept/);
    expect(await yaml('one')).toMatch(/memory: 256MiB/);
    const gone = await c.berthWith({ env: { EDITOR: 'no-such-editor', VISUAL: '' } }, 'vm', 'edit', 'one');
    expect(gone.err).toMatch(/the editor \(no-such-editor\) ended with 127/);
  });
});

it('volumes are made, grown and shown by files too', async () => {
  const text = (size: string) => `kind: volume\nname: data\nlabels: {team: a}\nspec: {size: ${size}, host: h2}\n`;
  const path = write('data.yaml', text('16MiB'));
  expect(await c.ok('apply', '-f', path)).toMatch(/volume data/);
  expect((await c.berth('apply', '--dry-run', '-f', path)).code).toBe(0);
  writeFileSync(path, await c.ok('volume', 'show', 'data', '-o', 'yaml'));
  expect((await c.berth('apply', '--dry-run', '-f', path)).code).toBe(0);
  writeFileSync(path, text('32MiB'));
  expect(await c.ok('apply', '-f', path)).toMatch(/size +16 MiB → 32 MiB/);
  expect(await c.ok('volume', 'show', 'data')).toMatch(/size: +32 MiB/);
  writeFileSync(path, text('8MiB'));
  const { code, err } = await c.berth('apply', '-f', path);
  expect([code, err]).toEqual([
    2,
    expect.stringMatching(/data\.yaml:\d+: .*volume data: size 8 MiB is less .*--shrink/),
  ]);
});
