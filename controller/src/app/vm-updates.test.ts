/** Changes of what a VM is: what is done at once, what waits, what is refused and why, and that twice is once. */
import type { VmDefinition } from '@berth/shared/hardware/definition.ts';
import { beforeEach, describe, expect, it } from 'vitest';
import { AppCluster } from '../../../test/harness/app-cluster.ts';
import { definitionOf } from './vm-changes.ts';
import type { Updated } from './vm-updates.ts';

const GIB = 2 ** 30;
let c: AppCluster;
beforeEach(async () => {
  c = await AppCluster.make();
  await c.import('base');
  await c.import('iso', 'iso');
});
const row = () => c.life.state.tables.vms.byName('web')!;
const domain = () => c.sim.hosts.host(row().hostId!).domains.get(row().uuid);
const view = () => c.life.vms.get('web');
const nameOf = (id: string | undefined) => c.life.state.tables.images.get(id as never)?.name ?? '';
const now = (): VmDefinition => definitionOf(row().spec, nameOf);
const make = (definition: VmDefinition = {}) => c.done(c.clone('web', { host: 'h1', definition }));
const start = () => c.done(c.life.vms.start('web', 'ann'));
const stop = () => c.done(c.life.vms.stop('web', { force: true, timeoutMs: 0, thenForce: false }, 'ann'));

interface Over {
  readonly generation?: number;
  readonly dryRun?: boolean;
  readonly labels?: Record<string, string>;
  readonly sshKeys?: readonly string[];
  readonly userData?: string;
}
const update = async (change: Partial<VmDefinition>, over: Over = {}): Promise<Updated & { ended: string }> => {
  const wanted = {
    ...{ definition: { ...now(), ...change }, generation: 0, dryRun: false, forceEject: false },
    labels: row().spec.labels,
  };
  const done = await c.timed(c.life.updates.update('web', { ...wanted, ...over }, 'ann', () => undefined));
  return { ...done, ended: await c.ended(done.jobId) };
};
const refused = async (change: Partial<VmDefinition>, over: Over = {}): Promise<string> => {
  const e = (await update(change, over).catch((x: unknown) => x)) as { reason?: string; message: string };
  return `${e.reason} ${e.message}`;
};

it('says what a guest was told when it was made, and is not told again', async () => {
  const key = 'ssh-ed25519 AAAA me';
  await c.done(c.clone('web', { sshKeys: [key], userData: '#cloud-config\n' }));
  expect((await update({}, { sshKeys: [`${key}\n`], userData: '#cloud-config\n' })).notes).toEqual([]);
  const { notes, changes } = await update({}, { sshKeys: [key, 'ssh-rsa BBBB you'], userData: '#!/bin/sh\n' });
  expect([changes, notes]).toEqual([
    [],
    ['sshKeys', 'userData'].map(
      (x) =>
        `vm web: ${x} is told to a guest once, when its VM is made, and was other then. Change it inside the guest`,
    ),
  ]);
});

describe('a VM that is off', () => {
  beforeEach(() => make());

  it('becomes what its definition says, on its host too, and again is nothing to do', async () => {
    const change = { vcpus: 2, memoryBytes: 2 * GIB, machine: 'pc', disks: [...now().disks!, { sizeBytes: GIB }] };
    const done = await update(change);
    expect(done.ended).toBe('succeeded');
    expect(done.changes.map((x) => `${x.field} ${x.before} ${x.after} ${x.atNextStart}`)).toEqual([
      'vcpus 1 2 false',
      'memory 512MiB 2GiB false',
      'disks.vdb.target  vdb false',
      'disks.vdb.size  1GiB false',
      'machine  pc false',
    ]);
    expect(domain()?.wanted).toMatchObject({ vcpus: 2, hardware: { machine: 'pc' }, generation: row().generation });
    expect(domain()?.wanted.disks.map((d) => d.target)).toEqual(['vda', 'vdb']);
    expect(c.life.state.tables.claims.get(row().id)).toMatchObject({ vcpus: 2, memoryBytes: 2 * GIB });
    expect(await view()).toMatchObject({ pending: [] });
    expect(row().before).toBeUndefined();
    expect(await update({})).toMatchObject({ ended: 'no job', changes: [] });
  });

  it('becomes smaller on a host that takes no more, and no larger there', async () => {
    const { state } = c.life;
    await update({ memoryBytes: GIB });
    await state.update((tx) => tx.hosts.put({ ...state.tables.hosts.byName('h1')!, maintenance: true }));
    expect(await update({ memoryBytes: GIB / 2, machine: 'pc' })).toMatchObject({ ended: 'succeeded' });
    expect(domain()?.wanted).toMatchObject({ memoryBytes: GIB / 2 });
    expect(await refused({ memoryBytes: GIB })).toMatch(/^NO_CAPACITY .*maintenance/);
  });

  it('changes labels and run policy without a job', async () => {
    const done = await update({ runPolicy: 'always' }, { labels: { team: 'a' } });
    expect(done).toMatchObject({ ended: 'no job', changes: [{ field: 'labels.team' }, { field: 'runPolicy' }] });
    expect(row().spec).toMatchObject({ runPolicy: 'always', labels: { team: 'a' } });
  });

  it('keeps what is said of labels and run policy while its machine is changed, also when that fails', async () => {
    const wanted = (change: Partial<VmDefinition>, labels = row().spec.labels) => ({
      ...{ definition: { ...now(), ...change }, generation: 0, dryRun: false, forceEject: false, labels },
    });
    const change = (...[w]: Parameters<typeof wanted>) =>
      c.life.updates.update('web', wanted(w), 'ann', () => undefined);
    c.sim.hosts.host(row().hostId!).diskFull = true;
    const machine = c.life.updates.update(
      'web',
      wanted({ disks: [...now().disks!, { sizeBytes: GIB }] }, { team: 'of the job' }),
      'ann',
      () => undefined,
    );
    const policy = change({ runPolicy: 'always' });
    const labelled = c.life.vms.label('web', { set: { tier: 'db' }, remove: [] }, () => undefined);
    expect(await c.ended((await c.timed(machine)).jobId)).toBe('failed');
    await c.timed(Promise.all([policy, labelled]));
    expect(row().spec).toMatchObject({ runPolicy: 'always', labels: { team: 'of the job', tier: 'db' } });
    expect([row().spec.disks.length, row().before]).toEqual([1, undefined]);
  });

  it('keeps its disks, their sizes and images, its MAC addresses and a password that is not said', async () => {
    const [vda] = now().disks!;
    expect(await refused({ disks: [] })).toMatch(
      /^INVALID_ARGUMENT disk vda \(1 GiB\) is not in the definition, .*lost/,
    );
    expect(await refused({ disks: [{ ...vda, sizeBytes: 2 * GIB }] })).toMatch(
      /disks.0.size is 2GiB, but vda has 1GiB/,
    );
    expect(await refused({ disks: [{ ...vda, image: 'iso' }] })).toMatch(/was made from something else/);
    const { mac } = row().spec.nics[0]!;
    const graphics = [{ type: 'vnc', password: 'secret' } as const];
    expect((await update({ graphics, nics: [{ bridge: 'br0' }, {}] })).ended).toBe('succeeded');
    expect(row().spec.nics.map((n) => n.mac === mac)).toEqual([true, false]);
    await update({ graphics: [{ type: 'vnc', listen: '0.0.0.0', passwordSet: true }] });
    expect(row().spec.hardware?.graphics).toEqual([{ type: 'vnc', listen: '0.0.0.0', password: 'secret' }]);
    await update({ graphics: [{ type: 'vnc', passwordSet: false }] });
    expect(row().spec.hardware?.graphics).toEqual([{ type: 'vnc' }]);
  });

  it('moves a disk to another bus, where it gets another name, with what is on it', async () => {
    const { volumeId } = row().spec.disks[0]!;
    expect((await update({ disks: [{ bus: 'scsi' }] })).ended).toBe('succeeded');
    expect(row().spec.disks).toMatchObject([{ target: 'sda', volumeId, options: { bus: 'scsi' } }]);
  });

  it('hears all that is wrong at once, and nothing is changed', async () => {
    const before = JSON.stringify(row());
    const words = await refused({
      ...{ disks: [{ ...now().disks![0], io: 'native', cache: 'writeback' }], boot: { order: ['cdrom'] } },
      ...{ nics: [{ mac: 'xx' }], osVariant: 'rehl7' },
    });
    expect(words.split('\n').map((l) => l.replace(/^INVALID_ARGUMENT /, ''))).toEqual([
      '"rehl7" is no guest that is known here. Did you mean rhel7?',
      '"xx" is not a MAC address: write it like 52:54:00:1a:2b:3c',
      'vm web: boot.order names cdrom, but the VM has no CD-ROM drive',
      'vm web: disks.0.io native needs cache none or directsync, not writeback',
    ]);
    expect(JSON.stringify(row())).toBe(before);
  });

  it('that somebody else has changed since is not changed over that', async () => {
    const { generation } = row();
    await update({ vcpus: 2 }, { generation });
    expect(await refused({ vcpus: 3 }, { generation })).toMatch(
      /^STALE_GENERATION vm web was changed by somebody else since you looked \(generation 1, now 2\)\. .*-o yaml$/,
    );
    expect(row().spec.vcpus).toBe(2);
  });

  it('is refused what its host has no room for, with numbers, and what its agent cannot make', async () => {
    expect(await refused({ memoryBytes: 512 * GIB })).toMatch(
      /^NO_CAPACITY vm web cannot run on h1: .* in all, .*wanted/,
    );
    const { hosts } = c.sim;
    const status = hosts.status.bind(hosts);
    hosts.status = (id) => {
      const s = status(id);
      return { ...s, facts: s.facts && { ...s.facts, capabilities: ['console'], agentVersion: '0.1.0' } };
    };
    expect(await refused({ machine: 'pc' })).toMatch(
      /^UNSUPPORTED the agent 0.1.0 of host h1 cannot give a vm other .*lacks domain.hardware/,
    );
  });

  it('only says what would change when asked so', async () => {
    const done = await update({ vcpus: 2 }, { dryRun: true });
    expect(done.changes).toMatchObject([{ field: 'vcpus', before: '1', after: '2' }]);
    expect(row().spec.vcpus).toBe(1);
  });
});

describe('a VM that runs', () => {
  beforeEach(async () => {
    await make({ maxVcpus: 4, maxMemoryBytes: 2 * GIB, cdroms: [{}] });
    await start();
  });

  it('takes on at once what it can, and the rest at its next start, until when that is shown', async () => {
    const change = {
      vcpus: 3,
      memoryBytes: GIB,
      machine: 'pc',
      cdroms: [{ target: 'sda', bus: 'sata', image: 'iso' } as const],
    };
    const done = await update(change);
    expect(done.ended).toBe('succeeded');
    const late = done.changes.filter((x) => x.atNextStart).map((x) => x.field);
    expect(late).toEqual(['machine']);
    expect([...c.sim.hosts.host(row().hostId!).live.values()].sort()).toEqual([
      '1073741824',
      '3',
      'sda sha256:iso false',
    ]);
    expect((await view()).pending).toEqual([{ field: 'machine', before: '', after: 'pc' }]);
    expect(domain()?.wanted.hardware?.machine).toBe('pc');
    await stop();
    expect((await view()).pending).toEqual([]);
    await start();
    expect((await view()).pending).toEqual([]);
    expect(row().live).toBeUndefined();
  });

  it('has nothing waiting any more when it is changed back', async () => {
    await update({ machine: 'pc' });
    const { machine: _, ...back } = now();
    await c.ended(
      (
        await c.timed(
          c.life.updates.update(
            'web',
            { definition: back, labels: {}, generation: 0, dryRun: false, forceEject: false },
            'ann',
            () => undefined,
          ),
        )
      ).jobId,
    );
    expect((await view()).pending).toEqual([]);
  });

  it('gets at its next start what its guest refuses, and what is beyond its maximum', async () => {
    c.sim.hosts.host(row().hostId!).refusesLive = true;
    expect((await update({ vcpus: 2 })).ended).toBe('succeeded');
    expect((await view()).pending).toEqual([{ field: 'vcpus', before: '1', after: '2' }]);
    expect((await update({ vcpus: 8, maxVcpus: 8 })).changes.every((x) => x.atNextStart)).toBe(true);
    expect(c.life.state.tables.claims.get(row().id)).toMatchObject({ vcpus: 8, powered: true });
  });

  it('keeps an image in its drive from being deleted until it is taken out, and says how', async () => {
    await update({ cdroms: [{ target: 'sda', bus: 'sata', image: 'iso' }] });
    const deletion = c.timed(c.life.images.delete('iso', 'ann'));
    await expect(deletion).rejects.toMatchObject({
      reason: 'IN_USE',
      message: expect.stringMatching(/CD-ROM drive of vm web\. .*vm eject web/),
    });
    await update({ cdroms: [{ target: 'sda', bus: 'sata' }] });
    expect(await c.ended((await c.timed(c.life.images.delete('iso', 'ann'))).jobId)).toBe('succeeded');
  });

  it('is not changed while it is saved, for its memory fits what it is', async () => {
    await c.done(c.life.vms.save('web', 'ann'));
    expect(await refused({ vcpus: 2 })).toMatch(/^BAD_STATE vm web is saved on h1\. .*--discard-saved, first/);
    expect((await update({ runPolicy: 'always' })).ended).toBe('no job');
  });
});

describe('installing from a medium', () => {
  const fresh = (definition: VmDefinition) =>
    c.life.making.create(
      {
        ...{ name: 'web', vcpus: 0, memoryBytes: 0, diskSizeBytes: 0, host: 'h2', bridge: '', mac: '' },
        ...{ labels: {}, dryRun: false, definition },
      },
      'ann',
    );

  it('has the medium on the host first, boots the disk before it, and what the guest knows', async () => {
    expect(
      await c.done(fresh({ cdroms: [{ image: 'iso' }], osVariant: 'win11', disks: [{ sizeBytes: 64 * GIB }] })),
    ).toBe('succeeded');
    expect(row().spec).toMatchObject({
      ...{ vcpus: 2, memoryBytes: 4 * GIB, osVariant: 'win11', seedVolumeId: undefined },
      disks: [{ target: 'sda', options: { bus: 'sata' } }],
      cdroms: [{ target: 'sdb', bus: 'sata' }],
      nics: [{ model: 'e1000e' }],
      hardware: { boot: { order: ['disk', 'cdrom'] }, clock: { offset: 'localtime' }, tpm: { version: '2.0' } },
    });
    expect(c.sim.hosts.host(c.hostId('h2')).images.has('sha256:iso')).toBe(true);
    expect(domain()?.wanted.cdroms).toEqual([{ target: 'sdb', bus: 'sata', imageDigest: 'sha256:iso' }]);
    expect(await update({})).toMatchObject({ ended: 'no job', changes: [] });
  });

  it('boots from the medium once when that is asked for', async () => {
    await c.done(fresh({ cdroms: [{ image: 'iso' }] }));
    expect(await c.done(c.life.vms.start('web', 'ann', { bootOnce: 'cdrom' }))).toBe('succeeded');
    expect(domain()?.wanted.hardware?.boot?.order).toEqual(['cdrom', 'disk']);
    await stop();
    await start();
    expect(domain()?.wanted.hardware?.boot?.order).toEqual(['disk', 'cdrom']);
    await stop();
    await expect(c.timed(c.life.vms.start('web', 'ann', { bootOnce: 'floppy' }))).rejects.toThrow(
      /nothing to boot from/,
    );
  });

  it('is only placed where the agent can make it', async () => {
    const { hosts } = c.sim;
    const status = hosts.status.bind(hosts);
    hosts.status = (id) => {
      const s = status(id);
      return { ...s, facts: s.facts && { ...s.facts, capabilities: ['image.fetch'] } };
    };
    await expect(c.timed(fresh({ cdroms: [{}] }))).rejects.toThrow(/on h2: lacks domain.hardware/);
    expect(await c.done(fresh({}))).toBe('succeeded');
  });
});
