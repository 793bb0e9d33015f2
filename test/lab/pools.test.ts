/** Storage pools with real libvirt and QEMU: a folder of one host, and one that two hosts share. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { findRoot } from '@berth/deploy/setup/root.js';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';

interface Pool {
  readonly name: string;
  readonly onHosts: readonly { readonly host: string; readonly state: string; readonly availableBytes: number }[];
}

const share = mkdtempSync(join(findRoot(), '.lab-share-'));
chmodSync(share, 0o755);

describeLab('pools', { hosts: ['h1', 'h2'], share: { source: share, target: '/kvm/shared' } }, (lab) => {
  let c: Cluster;
  const h1 = () => lab().host('h1');
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    for (const name of ['h1', 'h2']) await c.addLabHost(lab().host(name));
    await c.waitUp('h1', 'h2');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base', '--host', 'h1');
  }, 180_000);
  afterAll(async () => {
    await c?.stop();
    rmSync(share, { recursive: true, force: true });
  });

  const pool = async (name: string): Promise<Pool | undefined> =>
    (await c.json<Pool[]>('pool', 'list')).find((p) => p.name === name);

  it('makes a folder a pool on every host, and starts it again when somebody stopped it with virsh', async () => {
    expect(await c.ok('pool', 'create', 'fast', '--path', '/kvm/vdisks', '--all-hosts')).toMatch(/created on h1, h2/);
    expect(await h1().virsh(['pool-dumpxml', 'fast'])).toContain('<path>/kvm/vdisks</path>');
    expect(await pool('fast')).toMatchObject({ onHosts: [{ state: 'active' }, { state: 'active' }] });
    await h1().virsh(['pool-destroy', 'fast']);
    await eventually('it is up again', async () => (await h1().virsh(['pool-list', '--name'])).includes('fast'));
    await c.ok('pool', 'stop', 'fast');
    expect(await h1().virsh(['pool-list', '--name'])).not.toContain('fast');
    await c.ok('pool', 'start', 'fast');
  });

  it('knows storage that hosts share as one pool, and other storage at the same place as another', async () => {
    const alone = await c.berth('pool', 'create', 'wrong', '--path', '/kvm/shared/sub', '--all-hosts');
    expect(alone.err).toMatch(/is the same storage as on another host .* --shared/);
    expect(await c.ok('pool', 'create', 'nfs', '--path', '/kvm/shared/vms', '--all-hosts', '--shared')).toMatch(
      /created/,
    );
    expect(await h1().virsh(['vol-list', 'nfs'])).toMatch(/berth\.pool-.*\.mark/);
    const other = await c.berth('pool', 'create', 'apart', '--path', '/kvm/apart', '--all-hosts', '--shared');
    expect(other.err).toMatch(/is not the storage that the other hosts of this pool have/);
    expect(await h1().virsh(['pool-list', '--all', '--name'])).not.toContain('apart');
  });
});
