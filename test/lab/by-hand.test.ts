/** What people do on a host by hand, with real libvirt: Berth tells it in its own words, with the way out, and what it tells them to do helps. */
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually, PROGRAMS } from '../harness/processes.ts';

describeLab('what people do by hand', { hosts: ['h1'] }, (lab) => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    await c.addLabHost(lab().host('h1'));
    await c.waitUp('h1');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base');
    await c.ok('vm', 'clone', 'base', 'web', '--memory', '128MiB');
  }, 180_000);
  afterAll(() => c?.stop());
  const host = () => lab().host('h1');
  const virsh = (...args: string[]) => host().virsh(args);
  const refusal = async (...args: string[]): Promise<string> => {
    const r = await c.berth(...args);
    expect(r.code).not.toBe(0);
    expect(r.err).not.toMatch(/libvirt could not|\n/);
    return r.err;
  };

  it('a disk that was removed', async () => {
    const dir = '/var/lib/berth/volumes';
    const disk = (await host().run(['sh', '-c', `ls ${dir}/*.qcow2`])).trim();
    await host().run(['mv', disk, '/root/disk']);
    const said = await refusal('vm', 'start', 'web').finally(() => host().run(['mv', '/root/disk', disk]));
    expect(said).toContain(`vm web has lost its disk vda: ${disk} is not on h1 any more`);
  });

  it('a domain that was renamed', async () => {
    await virsh('domrename', 'web', 'other');
    const said = await refusal('vm', 'start', 'web').finally(() => virsh('domrename', 'other', 'web'));
    expect(said).toMatch(/is called other in libvirt on h1.*virsh domrename other web$/);
  });

  it('a domain that was undefined: a start brings it back', async () => {
    await virsh('undefine', 'web');
    await eventually('it is missed', async () => /missing/.test((await c.berth('vm', 'list')).out));
    const r = await c.berth('vm', 'start', 'web');
    expect(r.code, r.err).toBe(0);
    await c.serial('web', /^berth-guest: web /m);
  });

  it('a domain that was undefined under its running guest: it stops, and starts again', async () => {
    await virsh('undefine', 'web');
    expect(await virsh('list', '--name')).toBe('web');
    const stopped = await c.berth('vm', 'stop', 'web', '--force');
    expect(stopped.code, stopped.err).toBe(0);
    const r = await c.berth('vm', 'start', 'web');
    expect(r.code, r.err).toBe(0);
    expect(await virsh('list', '--all', '--name', '--persistent')).toBe('web');
  });

  it('a console that somebody else has', async () => {
    const first = execa(process.execPath, [PROGRAMS.berth, 'vm', 'console', 'web'], {
      env: { BERTH_CONFIG: c.configFile },
      stderr: 'ignore',
      reject: false,
    });
    try {
      let heard = '';
      first.stdout.on('data', (d: Buffer) => (heard += d.toString()));
      await eventually('the guest answers', async () => {
        first.stdin.write('\n');
        return heard !== '';
      });
      expect((await c.berth('vm', 'console', 'web')).err).toMatch(
        /the console of vm web is in use .*Take it over: berth vm console web --force$/,
      );
    } finally {
      first.kill('SIGKILL');
    }
  });
});
