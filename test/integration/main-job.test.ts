/** The main job on simulated hosts, through real processes: enrol, import, clone, start, stop, delete, as an operator does it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';

interface Vm {
  readonly name: string;
  readonly state: string;
  readonly host: string;
  readonly uuid: string;
  readonly spec: {
    readonly nics: { readonly mac: string }[];
    readonly disks: { readonly sizeBytes: number; readonly image: string }[];
  };
}

describe('the main job on simulated hosts', () => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start();
    await Promise.all(['h1', 'h2', 'h3'].map((h) => c.addSimulated(h)));
    await c.waitUp('h1', 'h2', 'h3');
    writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
  });
  afterAll(() => c.stop());

  it('imports an image from the operator’s disk', async () => {
    const r = await c.berth('image', 'import', join(c.dir, 'base.img'));
    expect(r).toMatchObject({ code: 0 });
    expect(r.out).toMatch(/^image base imported to h\d: sha256:[0-9a-f]{4}…[0-9a-f]{2}, 4 MiB virtual$/m);
    const [image] = await c.json<{ name: string; state: string; copies: unknown[] }[]>('image', 'list');
    expect(image).toMatchObject({ name: 'base', state: 'available' });
    expect(image?.copies).toHaveLength(1);
  });

  it('clones two VMs that land on different hosts, with one line each', async () => {
    const r = await c.berth('vm', 'clone', 'base', 'web', 'db');
    expect(r.code, r.err).toBe(0);
    expect(r.out).toMatch(/^vm web created on h\d +\[ {2}OK {2}\]$/m);
    expect(r.out).toMatch(/^vm db {2}created on h\d +\[ {2}OK {2}\]$/m);
    const vms = await c.json<Vm[]>('vm', 'list');
    expect(vms.map((v) => [v.name, v.state])).toEqual([
      ['db', 'stopped'],
      ['web', 'stopped'],
    ]);
    expect(new Set(vms.map((v) => v.host)).size).toBe(2);
    expect(new Set(vms.map((v) => v.spec.nics[0]?.mac)).size).toBe(2);
    expect(new Set(vms.map((v) => v.uuid)).size).toBe(2);
  });

  it('starts them, and each guest knows its own name', async () => {
    expect((await c.berth('vm', 'start', 'web', 'db')).code).toBe(0);
    await c.serial('web', /^berth-guest: web /m);
    await c.serial('db', /^berth-guest: db /m);
    expect((await c.json<Vm[]>('vm', 'list')).map((v) => v.state)).toEqual(['running', 'running']);
    expect((await c.berth('vm', 'start', 'web')).out).toMatch(/^vm web runs on h\d already/);
  });

  it('copies the image once to a host however many clones ask at the same time', async () => {
    const web = (await c.json<Vm[]>('vm', 'show', 'web').then((v) => v as unknown as Vm)).host;
    const holders =
      (await c.json<{ copies: { host: string }[] }[]>('image', 'list'))[0]?.copies.map((k) => k.host) ?? [];
    const target = ['h1', 'h2', 'h3'].find((h) => !holders.includes(h)) ?? web;
    const names = Array.from({ length: 6 }, (_, i) => `many-${i}`);
    expect((await c.berth('vm', 'clone', 'base', ...names, '--host', target)).code).toBe(0);
    const jobs = await c.json<{ kind: string; subject: string }[]>('job', 'list', '--limit', '200');
    expect(jobs.filter((j) => j.kind === 'image.fetch' && j.subject.includes(target)).length).toBeLessThanOrEqual(1);
    expect((await c.berth('vm', 'delete', ...names)).code).toBe(0);
  });

  it('refuses to delete what runs, with the advice what to do', async () => {
    const r = await c.berth('vm', 'delete', 'web');
    expect(r.code).toBe(4);
    expect(r.err).toMatch(
      /^berth: vm web is running on h\d\. Shut it down first \(berth vm stop web\), or delete it with --force\.$/,
    );
  });

  it('makes the disk larger than the image when asked, never smaller', async () => {
    expect((await c.berth('vm', 'clone', 'base', 'big', '--disk-size', '1GiB')).code).toBe(0);
    const big = (await c.json<Vm[]>('vm', 'list')).find((v) => v.name === 'big');
    expect(big?.spec.disks[0]).toMatchObject({ sizeBytes: 2 ** 30, image: 'base' });
    const small = await c.berth('vm', 'clone', 'base', 'small', '--disk-size', '1MiB');
    expect(small.code).toBe(2);
    expect(small.err).toMatch(/4 MiB/);
    expect((await c.berth('vm', 'delete', 'big')).code).toBe(0);
  });

  it('stops and deletes, and leaves nothing', async () => {
    expect((await c.berth('vm', 'stop', 'web')).code).toBe(0);
    expect((await c.berth('vm', 'delete', 'web')).code).toBe(0);
    expect((await c.berth('vm', 'delete', 'db', '--force')).code).toBe(0);
    expect(await c.json('vm', 'list')).toEqual([]);
    expect((await c.berth('image', 'delete', 'base')).code).toBe(0);
    expect(await c.json('image', 'list')).toEqual([]);
    await c.quiet();
  });
});
