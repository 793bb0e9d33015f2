/** Bad input gets one clear line and changes nothing. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { qcow2, rawDisk } from '../harness/disk-files.ts';
import { PROGRAMS, run } from '../harness/processes.ts';

describe('bad input', () => {
  let c: Cluster;
  const file = (name: string, content: Buffer | string) => {
    const path = join(c.dir, name);
    writeFileSync(path, content);
    return path;
  };
  beforeAll(async () => {
    c = await Cluster.start();
    await c.addSimulated('h1');
    await c.waitUp('h1');
    await c.ok('image', 'import', file('base.img', rawDisk(4 * 2 ** 20)));
    await c.ok('vm', 'clone', 'base', 'web');
  });
  afterAll(() => c.stop());

  const names = async () => [
    await c.ok('vm', 'list', '-o', 'name'),
    await c.ok('image', 'list', '-o', 'name'),
    await c.ok('host', 'list', '-o', 'name'),
  ];

  /** One line on standard error, an exit code; that the inventory is as before is looked at once, at the end. */
  async function refused(args: string[], code: number, words: RegExp): Promise<void> {
    const r = await c.berth(...args);
    expect(r.err).toMatch(words);
    expect(r.code, r.err).toBe(code);
    expect(r.err).not.toMatch(/\n\s+at |Error:|\[object|undefined/);
  }

  it('refuses a name that exists', () => refused(['vm', 'clone', 'base', 'web'], 4, /^berth: vm web exists already/));
  it('refuses a name with a slash', () => refused(['vm', 'clone', 'base', '../web'], 2, /^berth: .*\.\.\/web/));
  it('refuses an image that does not exist', () =>
    refused(['vm', 'clone', 'nosuch', 'x'], 3, /^berth: image nosuch does not exist/));
  it('refuses a VM that does not exist', () =>
    refused(['vm', 'start', 'nosuch'], 3, /^berth: vm nosuch does not exist/));
  it('refuses a host that does not exist', () =>
    refused(['vm', 'clone', 'base', 'x', '--host', 'h9'], 3, /^berth: host h9 does not exist\. Did you mean h1\?/));
  it('refuses a size without a unit', () =>
    refused(['vm', 'clone', 'base', 'x', '--memory', '12'], 2, /is not a size/));
  it('refuses a size of minus one', () => refused(['vm', 'create', 'x', '--disk=-1'], 2, /is not a size/));
  it('refuses a VM that no host can hold, with the reason per host', () =>
    refused(
      ['vm', 'clone', 'base', 'x', '--memory', '512GiB'],
      1,
      /^berth: vm x cannot run on h1: memory 15 GiB in all, 514 GiB wanted/,
    ));
  it('refuses a broken MAC', () => refused(['vm', 'clone', 'base', 'x', '--mac', 'zz'], 2, /zz/));
  it('refuses a text file', () =>
    refused(
      ['image', 'import', file('notes.txt', 'shopping list\n'.repeat(50))],
      1,
      /^berth: notes\.txt is not a disk image \(it looks like text\)/,
    ));
  it('refuses an empty file', () => refused(['image', 'import', file('empty.img', '')], 1, /^berth: empty\.img/));
  it('refuses a file that is not there', () =>
    refused(['image', 'import', join(c.dir, 'gone.img')], 2, /^berth: can't read/));
  it('refuses a truncated qcow2', () =>
    refused(['image', 'import', file('cut.qcow2', qcow2().subarray(0, 70_000))], 1, /cut\.qcow2.*(truncated|end)/));
  it('refuses a qcow2 with a backing file, naming it', () =>
    refused(
      ['image', 'import', file('evil.qcow2', qcow2({ backingFile: '/etc/shadow' }))],
      1,
      /^berth: evil\.qcow2 refers to another file \(\/etc\/shadow\) as its backing file/,
    ));
  it('refuses a qcow2 with an external data file', () =>
    refused(
      ['image', 'import', file('ext.qcow2', qcow2({ incompatibleFeatures: 4n }))],
      1,
      /^berth: ext\.qcow2 keeps its data in another file/,
    ));
  it('refuses a virtual size of a petabyte', () =>
    refused(['image', 'import', file('huge.qcow2', qcow2({ virtualSizeBytes: 2n ** 50n }))], 1, /PiB/));
  it('refuses an encrypted qcow2', () =>
    refused(['image', 'import', file('enc.qcow2', qcow2({ encryption: 1 }))], 1, /encrypt/));
  it('refuses to take an image away from under a VM', () => refused(['image', 'delete', 'base'], 4, /web/));
  it('refuses to remove a host with VMs', () => refused(['host', 'remove', 'h1'], 4, /web|VM/));
  it('refuses an unknown verb', () => refused(['vm', 'explode', 'web'], 2, /^berth: .*explode.*See: berth vm --help/));
  it('refuses an unknown flag', () => refused(['vm', 'list', '--colour'], 2, /--colour/));
  it('refuses a missing argument', () => refused(['vm', 'start'], 2, /which VMs\?/));

  it('and all of it changes nothing', async () => {
    await c.quiet();
    expect(await names()).toEqual(['web', 'base', 'h1']);
  });

  it('refuses a caller without or with a wrong token', async () => {
    const r = await c.berthWith({ env: { BERTH_CONFIG: join(c.dir, 'none.yaml') } }, 'vm', 'list');
    expect(r).toMatchObject({ code: 6 });
    expect(r.err).toMatch(/^berth: not logged in/);
  });

  it('lets a viewer look and not touch', async () => {
    const line = await c.ok('token', 'create', 'eve', '--role', 'viewer');
    const env = { BERTH_CONFIG: join(c.dir, 'eve.yaml') };
    expect((await c.berthWith({ env, input: `${line}\n` }, 'login')).code).toBe(0);
    expect((await c.berthWith({ env }, 'vm', 'list')).code).toBe(0);
    const r = await c.berthWith({ env }, 'vm', 'delete', 'web');
    expect(r).toMatchObject({ code: 6 });
    expect(r.err).toMatch(/viewer/);
  });

  it('refuses a join token that is broken, used by another key, or ended', async () => {
    const config = file('x.yaml', `dataDir: ${join(c.dir, 'x')}\n`);
    const enroll = (input: string, cfg = config) => run(PROGRAMS.agent, ['enroll', '--config', cfg], { input });
    expect((await enroll('hello\n')).err).toMatch(/join token/);
    const first = await c.joinToken('h2', '127.0.0.1:19999');
    const second = await c.ok('host', 'token', 'h2');
    const ended = await enroll(`${first}\n`);
    expect(ended.code).not.toBe(0);
    expect((await enroll(`${second}\n`)).code).toBe(0);
    const other = file('y.yaml', `dataDir: ${join(c.dir, 'y')}\n`);
    const reused = await enroll(`${second}\n`, other);
    expect(reused.code).not.toBe(0);
    expect(reused.err).toMatch(/another key|used|enrolled/);
    expect((await enroll(`${second}\n`)).code).toBe(0); // the same key may ask again
    expect((await c.berth('host', 'remove', 'h2')).code).toBe(0);
  });

  it('refuses a second controller on the same database', async () => {
    const r = await run(PROGRAMS.controller, ['run', '--data-dir', c.dataDir, '--listen', '127.0.0.1:0']);
    expect(r.code).not.toBe(0);
    expect(r.err).toMatch(/in use|another controller/);
    expect((await c.berth('vm', 'list')).code).toBe(0);
  });

  it('refuses to initialise twice', async () => {
    const r = await run(PROGRAMS.controller, ['init', '--data-dir', c.dataDir, '--address', c.address]);
    expect(r.code).not.toBe(0);
    expect(r.err).toMatch(/already|exists/);
  });

  it.each([
    [['backup', '--tto', 'x'], "unknown option '--tto' (Did you mean --to?)"],
    [['init'], "required option '--address <host:port...>' not specified"],
    [['explode'], 'too many arguments. Expected 0 arguments but got 1'],
  ])('exits 2 with one line when the controller program is called wrongly: %j', async (args, why) => {
    const r = await run(PROGRAMS.controller, args);
    expect([r.code, r.err.trim()]).toEqual([2, `berth-controller: ${why}. See: berth-controller --help`]);
  });
});
