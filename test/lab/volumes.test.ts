/** Volumes of real guests: what comes, goes and grows under one that runs shows in the guest itself. */
import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { guestShell } from '../harness/guest-shell.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

interface Volume {
  readonly id: string;
  readonly name: string;
  readonly vm: string;
  readonly host: string;
  readonly sizeBytes: number;
}
const GIB = 2 ** 30;

describeLab('volumes', { hosts: ['h1', 'h2'] }, (lab) => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    for (const name of ['h1', 'h2']) {
      await c.addLabHost(lab().host(name));
      await c.waitUp(name);
    }
    await c.ok('image', 'import', guestImagePath(), '--name', 'base');
    await c.ok('vm', 'clone', 'base', 'web', '--memory', '128MiB', '--host', 'h1', '--start');
    await c.serial('web', /^berth-facts: .* boots 1 /m);
  }, 180_000);
  afterAll(() => c?.stop());

  const volume = (name: string) => c.json<Volume>('volume', 'show', name);

  const shell = () => guestShell(c, 'web');
  const sectors = async (disk: string) => Number(await shell().ask(`cat /sys/block/${disk}/size`));

  it('grow under a guest that runs, which sees it at once', async () => {
    const { sizeBytes } = await volume('web-vda');
    expect(await c.ok('volume', 'resize', 'web-vda', '+1GiB')).toMatch(/^volume web-vda has /);
    expect(await sectors('vda')).toBe((sizeBytes + GIB) / 512);
    expect((await volume('web-vda')).sizeBytes).toBe(sizeBytes + GIB);
    expect((await c.berth('volume', 'resize', 'web-vda', '64MiB', '--shrink')).err).toMatch(/while the vm runs/);
  });

  it('come under a guest that runs, keep what it writes, and go again', async () => {
    await c.ok('volume', 'create', 'data', '--size', '64MiB', '--host', 'h1');
    expect(await c.ok('volume', 'attach', 'web', 'data')).toMatch(
      /^volume data is vdb of vm web, called web-vdb there /,
    );
    // to the guest the seed is vdb
    await eventually('the guest has it', async () => (await sectors('vdc')) === (64 * 2 ** 20) / 512);
    await shell().run('echo hello-from-web > /dev/vdc; sync');
    expect((await c.berth('volume', 'delete', 'web-vdb')).err).toMatch(/is disk vdb of vm web/);
    expect(await c.ok('volume', 'detach', 'web', 'vdb')).toMatch(/detached; it is volume web-vdb/);
    expect(await shell().ask('ls /sys/block')).not.toContain('vdc');
    expect(await c.ok('volume', 'attach', 'web', 'web-vdb', '--bus', 'scsi')).toMatch(/is sda of vm web/);
    expect(await lab().host('h1').virsh(['domblklist', 'web'])).toMatch(/sda +.*volumes/);
    await c.ok('volume', 'detach', 'web', 'sda', '--name', 'kept');
    const { id } = await volume('kept');
    const path = `/var/lib/berth/volumes/${id}.qcow2`;
    const read = ['qemu-img', 'dd', '-f', 'qcow2', '-O', 'raw', 'bs=512', 'count=1', `if=${path}`, 'of=/tmp/first'];
    await lab().host('h1').run(read);
    expect(await lab().host('h1').run(['head', '-c', '14', '/tmp/first'])).toBe('hello-from-web');
  });

  it('are converted, made sparse and wiped while nobody uses them', async () => {
    expect((await c.berth('volume', 'convert', 'web-vda', '--format', 'raw')).err).toMatch(/which is running. Stop it/);
    await c.ok('vm', 'stop', 'web');
    const image = (await c.json<{ backing: string[] }>('volume', 'show', 'web-vda')).backing;
    expect(image).toEqual(['base']);
    expect(await c.ok('volume', 'sparsify', 'web-vda')).toMatch(/written anew/);
    expect(await c.ok('volume', 'convert', 'web-vda', '--format', 'raw')).toMatch(/^volume web-vda is raw /);
    expect(await c.json('volume', 'show', 'web-vda')).toMatchObject({ format: 'raw', backing: [] });
    await c.ok('vm', 'start', 'web');
    await c.serial('web', /^berth-facts: .* boots 2 /m);
    const { id } = await volume('kept');
    await c.ok('volume', 'wipe', 'kept');
    const grep = ['sh', '-c', `grep -c hello-from-web /var/lib/berth/volumes/${id}.qcow2 || true`];
    expect((await lab().host('h1').run(grep)).trim()).toBe('0');
    await c.ok('volume', 'wipe', 'kept', '--delete');
    await eventually('it is gone', async () => (await c.berth('volume', 'show', 'kept')).code !== 0);
  });

  it('are uploaded, over an agent that is killed meanwhile, and hold what was sent', async () => {
    const sent = randomBytes(160 * 2 ** 20);
    sent.fill(0, 0, 2 ** 20);
    sent.write('\x53\xef', 0x438, 'latin1');
    const path = join(c.dir, 'sent.img');
    writeFileSync(path, sent);
    const uploading = c.ok('volume', 'upload', path, 'sent', '--as', 'raw', '--host', 'h1');
    uploading.catch(() => undefined);
    await c.midTransfer('volume.upload');
    await lab().host('h1').stopAgent('SIGKILL');
    await lab().host('h1').startAgent();
    expect(await uploading).toBe('volume sent uploaded to h1: 160 MiB, raw');
    await c.ok('volume', 'attach', 'web', 'sent');
    // vdb or vdc: while its seed is there, that is vdb
    const isIt = `[ "$(cat /sys/block/$d/size)" = ${sent.length / 512} ]`;
    const last = 'dd if=/dev/$d bs=1048576 skip=152 count=8 | md5sum';
    const own = `for d in vdb vdc; do ${isIt} && ${last}; done 2>/dev/null`;
    const sum = createHash('md5')
      .update(sent.subarray(152 * 2 ** 20))
      .digest('hex');
    await eventually('the guest has it, as it was sent', async () => (await shell().ask(own)).includes(sum), 60_000);
  });

  it('and network cards come and go as well', async () => {
    const attached = await c.ok('vm', 'attach', 'web', 'nic', 'br0', '--mac', '52:54:00:aa:bb:01');
    expect(attached).toMatch(/^vm web changed +\[/);
    expect(await lab().host('h1').virsh(['domiflist', 'web'])).toContain('52:54:00:aa:bb:01');
    const cards = () => shell().ask('cat /sys/class/net/*/address');
    await eventually('the guest has it', async () => (await cards()).includes('52:54:00:aa:bb:01'), 60_000);
    expect(await c.ok('vm', 'detach', 'web', 'nic', '52:54:00:aa:bb:01')).toMatch(/^vm web changed /);
    expect(await cards()).not.toContain('52:54:00:aa:bb:01');
  });
});
