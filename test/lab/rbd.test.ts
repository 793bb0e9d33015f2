/** Disks on Ceph: a real cluster of one server, two hosts that have its pool, VMs that boot from it, and what keeps them apart. */
import { createHash, randomFillSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startCeph, type CephServer } from '@berth/deploy/lab/ceph.ts';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

interface Vm {
  readonly state: string;
  readonly host: string;
  readonly spec: {
    readonly disks: readonly { readonly volumeId: string; readonly pool?: string; readonly copyOf?: string }[];
  };
}
/** As rbd tells it. */
interface Used {
  readonly images: readonly { readonly used_size: number }[];
}
interface Pool {
  readonly name: string;
  readonly onHosts: readonly {
    readonly state: string;
    readonly capacityBytes: number;
    readonly availableBytes: number;
  }[];
}

const dir = mkdtempSync(join(tmpdir(), 'berth-rbd-'));
const GIB = 2 ** 30;
const MIB = 2 ** 20;
const sha256 = (b: Buffer): string => createHash('sha256').update(b).digest('hex');

describeLab('disks on Ceph', { hosts: ['h1', 'h2'] }, (lab) => {
  let c: Cluster;
  let ceph: CephServer;
  const keyFile = join(dir, 'key');
  beforeAll(async () => {
    const [cluster, server] = await Promise.all([
      machineAddress(lab()).then((a) => Cluster.start(a)),
      startCeph(lab()),
    ]);
    [c, ceph] = [cluster, server];
    writeFileSync(keyFile, `${ceph.key}\n`, { mode: 0o600 });
    for (const name of ['h1', 'h2']) await c.addLabHost(lab().host(name));
    await c.waitUp('h1', 'h2');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base', '--host', 'h1');
  }, 240_000);
  afterAll(async () => {
    await c?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const vm = (name: string): Promise<Vm> => c.json<Vm>('vm', 'show', name);
  const create = (name: string, ...more: string[]) =>
    c.berth(
      ...['pool', 'create', name, '--type', 'rbd', '--source-host', ceph.address, '--source-name', ceph.pool],
      ...['--auth-user', ceph.user, '--auth-secret-file', keyFile, ...more],
    );

  it('is one pool on both hosts, with its capacity and free space, and is refused as storage of one host alone', async () => {
    const alone = await create('alone', '--all-hosts');
    expect(alone.err).toMatch(/is the same storage as on another host .* --shared/);
    expect((await create('ceph', '--all-hosts', '--shared')).out).toMatch(/created on h1, h2/);
    expect(await ceph.list()).toEqual([expect.stringMatching(/^berth\.pool-.*\.mark$/)]);
    await eventually('both know its room', async () => {
      const [pool] = (await c.json<Pool[]>('pool', 'list')).filter((p) => p.name === 'ceph');
      return pool?.onHosts.every((h) => h.state === 'active' && h.capacityBytes === 2 * GIB && h.availableBytes > GIB);
    });
    const other = await create('other', '--all-hosts', '--shared');
    expect(other.err).toMatch(/rbd vms on h\d belongs to another pool already/);
  });

  it('boots VMs from copies of an image there, on both hosts, and shows neither key nor file of them', async () => {
    const linked = await c.berth('vm', 'clone', 'base', 'no', '--pool', 'ceph', '--linked');
    expect(linked.err).toMatch(/disk vda cannot be linked: pool ceph holds no overlays/);
    for (const [name, host] of [
      ['web', 'h1'],
      ['db', 'h2'],
    ] as const)
      await c.ok('vm', 'clone', 'base', name, '--host', host, '--pool', 'ceph', '--memory', '128MiB', '--start');
    await c.serial('web', /^berth-facts: /m);
    await c.serial('db', /^berth-facts: /m);
    const [disk] = (await vm('web')).spec.disks;
    expect(disk).toMatchObject({ pool: 'ceph', copyOf: 'base' });
    expect(await ceph.list()).toContain(disk?.volumeId);
    const xml = await lab().host('h1').virsh(['dumpxml', 'web']);
    expect(xml).toContain(`<source protocol='rbd' name='vms/${disk?.volumeId}'`);
    expect(xml).not.toContain(ceph.key);
    const told = await lab().host('h1').run(['sh', '-c', 'cat /var/log/berth-agent.log; ls -R /var/lib/berth']);
    expect(told).not.toContain(ceph.key);
    expect(told).not.toMatch(new RegExp(`${disk?.volumeId}\\.(qcow2|raw)|secret-`));
    const inUse = await c.berth('pool', 'remove', 'ceph');
    expect(inUse.err).toMatch(/pool ceph is in use: disks of vms db, web lie in it/);
  });

  it('takes in files over agents that are killed, gives them out again, and has nothing of what is evil, too large or half', async () => {
    const before = await ceph.list();
    const sent = Buffer.alloc(192 * MIB);
    randomFillSync(sent, 64 * MIB, 96 * MIB);
    sent.write('\x53\xef', 0x438, 'latin1');
    const [path, small, evil] = [join(dir, 'sent.img'), join(dir, 'small.qcow2'), join(dir, 'evil.qcow2')];
    writeFileSync(path, sent);
    const held = (id: string) => ceph.run(['sh', '-c', `rbd export --no-progress ${ceph.pool}/${id} - | sha256sum`]);
    const killAgent = async () => {
      await lab().host('h1').stopAgent('SIGKILL');
      await lab().host('h1').startAgent();
    };
    const upload = (...more: string[]) => c.ok('volume', 'upload', ...more);
    const uploading = upload(path, 'sent', '--pool', 'ceph', '--host', 'h1');
    uploading.catch(() => undefined);
    await c.midTransfer('volume.upload');
    expect(await ceph.list()).toEqual(before);
    await killAgent();
    // and once more, while it is written to Ceph
    await eventually('it is being written', async () => (await ceph.list()).length > before.length, 120_000);
    await killAgent();
    expect(await uploading).toBe('volume sent uploaded to pool ceph on h1: 192 MiB, raw');
    const { id } = await c.json<{ id: string }>('volume', 'show', 'sent');
    expect(await held(id)).toContain(sha256(sent));
    const used = JSON.parse(await ceph.run(['rbd', 'du', '--format', 'json', `${ceph.pool}/${id}`])) as Used;
    expect(used.images[0]?.used_size).toBeLessThan(112 * MIB);
    await c.ok('volume', 'download', 'sent', join(dir, 'back.img'));
    expect(sha256(readFileSync(join(dir, 'back.img')))).toBe(sha256(sent));
    await c.ok('volume', 'download', 'sent', small);
    expect(statSync(small).size).toBeLessThan(112 * MIB);
    await c.ok('volume', 'wipe', 'sent');
    await upload(small, 'sent', '--overwrite');
    const after = await c.json<{ id: string; format: string }>('volume', 'show', 'sent');
    expect([after.format, await held(after.id)]).toEqual(['raw', expect.stringContaining(sha256(sent))]);
    writeFileSync(evil, emptyQcow2(MIB, '/etc/shadow'));
    const refused = async (...args: string[]) => (await c.berth('volume', ...args)).err;
    expect(await refused('upload', evil, 'evil', '--pool', 'ceph')).toMatch(/\/etc\/shadow/);
    writeFileSync(join(dir, 'huge.img'), sent.subarray(0, MIB));
    truncateSync(join(dir, 'huge.img'), 8 * GIB);
    expect(await refused('upload', join(dir, 'huge.img'), 'huge', '--pool', 'ceph')).toMatch(/8 GiB/);
    expect(await refused('upload', small, 'no', '--pool', 'ceph', '--as', 'qcow2')).toMatch(/what lies there is raw/);
    expect(await refused('convert', 'sent', '--to', 'vdi')).toMatch(/berth volume download sent sent.vdi/);
    expect(await c.ok('volume', 'convert', 'sent', '--to', 'raw')).toMatch(/is raw already/);
    await c.ok('volume', 'attach', 'web', 'sent');
    expect(await refused('download', 'web-vdb', join(dir, 'no.img'))).toMatch(/is running. Stop it first/);
    await c.ok('volume', 'detach', 'web/vdb', '--name', 'sent');
    await c.ok('volume', 'delete', 'sent');
    expect(await ceph.list()).toEqual(before);
    expect(await lab().host('h1').run(['sh', '-c', 'ls /var/lib/berth/uploads /var/lib/berth/staging'])).not.toMatch(
      /job-/,
    );
  });

  it('makes a disk larger under its guest, and blank ones, and leaves nothing of them there when they are deleted', async () => {
    await c.ok('volume', 'resize', 'web/vda', '1GiB');
    const [disk] = (await vm('web')).spec.disks;
    const info = await ceph.run(['rbd', 'info', `${ceph.pool}/${disk?.volumeId}`]);
    expect(info).toMatch(/size 1 GiB/);
    // whoever takes a disk over from a host that is dead or frozen shuts its client out: the lock is held by one
    expect(info).toMatch(/features: .*exclusive-lock/);
    expect(await ceph.run(['rbd', 'lock', 'ls', `${ceph.pool}/${disk?.volumeId}`])).toMatch(
      /There is 1 exclusive lock/,
    );
    await c.ok('volume', 'create', 'data', '--size', '16MiB', '--pool', 'ceph', '--host', 'h1');
    await c.ok('volume', 'attach', 'web', 'data');
    expect(await lab().host('h1').virsh(['domblklist', 'web'])).toMatch(/vdb +vms\/volume-/);
    await c.ok('volume', 'detach', 'web/vdb');
    await c.ok('volume', 'delete', 'web-vdb');
    // one that a client had open which was killed: Ceph keeps it open for half a minute more, and it is deleted then
    await c.ok('volume', 'create', 'held', '--size', '16MiB', '--pool', 'ceph', '--host', 'h1');
    const { id: held } = await c.json<{ id: string }>('volume', 'show', 'held');
    const watch = `sleep 3 | timeout -s KILL 1 rbd watch ${ceph.pool}/${held}`;
    await ceph.run(['sh', '-c', `${watch}; rbd status ${ceph.pool}/${held} | grep -q watcher=`]);
    const removing = c.ok('volume', 'delete', 'held');
    removing.catch(() => undefined);
    const blank = await c.ok('vm', 'create', 'blank', '--disk', '64MiB', '--pool', 'ceph', '--host', 'h2');
    expect(blank).toMatch(/blank/);
    await c.ok('vm', 'stop', 'db', '--force');
    await c.ok('image', 'capture', 'db', '--name', 'of-db');
    await c.ok('vm', 'clone', 'of-db', 'again', '--host', 'h2', '--memory', '128MiB', '--start');
    await c.serial('again', /^berth-facts: .* boots 2 /m);
    await c.ok('vm', 'delete', 'again', '--force');
    expect((await c.berth('volume', 'convert', 'db/vda', '--format', 'qcow2')).err).toMatch(/lies in pool ceph/);
    await c.ok('volume', 'wipe', 'db/vda');
    const [wiped] = (await vm('db')).spec.disks;
    const bytes = `rbd export --no-progress ${ceph.pool}/${wiped?.volumeId} - | tr -d '\\0' | wc -c`;
    expect((await ceph.run(['sh', '-c', bytes])).trim()).toBe('0');
    // out of pool local and back while it is off: it boots from there, with all that its image gave it
    await c.ok('vm', 'clone', 'base', 'far', '--host', 'h1', '--memory', '128MiB');
    expect(await c.ok('volume', 'move', 'far-vda', '--pool', 'ceph')).toMatch(/is in pool ceph on h1/);
    await c.ok('vm', 'start', 'far');
    await c.serial('far', /^berth-facts: .* boots 1 /m);
    await c.ok('vm', 'stop', 'far', '--force');
    expect(await c.ok('volume', 'move', 'far-vda', '--pool', 'local')).toMatch(/is in pool local on h1/);
    await c.ok('vm', 'start', 'far');
    await c.serial('far', /^berth-facts: .* boots 2 /m);
    await c.ok('vm', 'delete', 'web', 'db', 'blank', 'far', '--force');
    await removing;
    expect(await ceph.list()).toEqual([expect.stringMatching(/\.mark$/)]);
    await c.ok('pool', 'remove', 'ceph');
    for (const name of ['h1', 'h2']) {
      expect(await lab().host(name).virsh(['secret-list'])).toBe('');
      expect(await lab().host(name).virsh(['pool-list', '--all', '--name'])).toBe('');
    }
  });
});
