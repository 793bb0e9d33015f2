import { beforeEach, describe, expect, it } from 'vitest';
import { AppCluster } from '../../../test/harness/app-cluster.ts';

let c: AppCluster;
const said = async (answer: Promise<unknown>): Promise<string> => {
  const e = (await c.timed(answer).catch((x: unknown) => x)) as { reason?: string; message?: string };
  return `${e.reason}: ${e.message}`;
};
const nameOf = async (ref: string): Promise<string> => (await c.timed(c.life.images.get(ref))).image.name;
const tag = (image: string, ...set: string[]) => c.timed(c.life.images.tag(image, { set, remove: [] }));
const begin = (name: string) =>
  c.timed(c.life.images.import({ name, fileBytes: 4, allocatedBytes: 4, format: '', host: '' }, 'test'));

beforeEach(async () => {
  c = await AppCluster.make();
});

describe('the name of an image alone', () => {
  it('means its newest version, until somebody says which', async () => {
    await c.import('debian:12.3', 'old');
    await c.import('debian:12.4', 'new');
    expect(await nameOf('debian')).toBe('debian:12.4');
    expect(await nameOf('debian:latest')).toBe('debian:12.4');
    await tag('debian:12.3', 'latest', 'debian:stable');
    expect([await nameOf('debian'), await nameOf('debian:stable')]).toEqual(['debian:12.3', 'debian:12.3']);
    await c.import('debian:12.5', 'newest');
    expect(await nameOf('debian')).toBe('debian:12.3');
    await c.timed(c.life.images.tag('debian:latest', { set: [], remove: ['latest'] }));
    expect(await nameOf('debian')).toBe('debian:12.5');
  });

  it('does not mean a version that is still coming in', async () => {
    await c.import('debian:1', 'old');
    await begin('debian:2');
    expect(await nameOf('debian')).toBe('debian:1');
    expect(await said(c.clone('web', { image: 'debian:2' }))).toContain('image debian:2 is still being imported');
  });

  it('that was an image without a version becomes its first version when another comes, and stays what VMs have', async () => {
    await c.import('base', 'one');
    expect(await c.done(c.clone('web'))).toBe('succeeded');
    await c.import('base:2', 'two');
    expect((await c.life.vms.get('web')).imageNames).toEqual(['base:1']);
    expect(await c.done(c.clone('db'))).toBe('succeeded');
    expect((await c.life.vms.get('db')).imageNames).toEqual(['base:2']);
    expect(await said(begin('base'))).toContain('--name base:3');
  });

  it('in the definition of a VM that is there is no wish for another version', async () => {
    await c.import('base:1', 'one');
    expect(await c.done(c.clone('web'))).toBe('succeeded');
    await c.import('base:2', 'two');
    const update = (image: string) =>
      c.timed(
        c.life.updates.update(
          'web',
          {
            definition: { disks: [{ image }], nics: [{}] },
            labels: {},
            generation: 0,
            dryRun: true,
            forceEject: false,
          },
          'test',
          () => {},
        ),
      );
    await expect(update('base')).resolves.toBeDefined();
    await expect(update('base:1')).resolves.toBeDefined();
    await expect(update('base:2')).rejects.toThrow('was made from something else');
  });
});

describe('a tag', () => {
  it('moves from one version to another', async () => {
    await c.import('debian:1', 'old');
    await c.import('debian:2', 'new');
    await tag('debian:1', 'stable');
    await tag('debian:2', 'stable');
    expect(await nameOf('debian:stable')).toBe('debian:2');
    expect((await c.life.images.get('debian:1')).tags).toEqual([]);
    expect((await c.life.images.get('debian:2')).tags).toEqual(['latest', 'stable']);
  });

  it('is refused when it is a version, is no name, or belongs to another image; and so is such a version', async () => {
    await c.import('debian:1', 'old');
    await c.import('other', 'x');
    await tag('debian:1', 'stable');
    const ask = (t: string) => said(c.life.images.tag('debian:1', { set: [t], remove: [] }));
    expect(await ask('1')).toContain('debian:1 is a version');
    expect(await ask('../x')).toContain('cannot be the version of an image');
    expect(await ask('other:x')).toContain('can be a tag of versions of image other, not of debian');
    expect(await said(begin('debian:stable'))).toContain('debian:stable is a tag, of image debian:1');
    expect(await said(begin('debian:latest'))).toContain('latest is no version but a tag');
    expect(await said(begin('debian:'))).toContain('INVALID_ARGUMENT');
    expect(await said(begin('debian:1'))).toContain('ALREADY_EXISTS');
    expect((await c.life.images.list({ pageSize: 0, pageToken: '' })).items.map((i) => i.image.name)).toEqual([
      'debian:1',
      'other',
    ]);
  });

  it('goes with its version, of which the others stay', async () => {
    await c.import('debian:1', 'old');
    await c.import('debian:2', 'new');
    await tag('debian:1', 'latest');
    expect(await c.ended((await c.timed(c.life.images.delete('debian:1', 'test'))).jobId)).toBe('succeeded');
    expect(await nameOf('debian')).toBe('debian:2');
  });
});

describe('the default spec of an image', () => {
  it('is what its clones get where nothing else is said', async () => {
    await c.import('base');
    const defaults = { memoryBytes: 2 ** 30, vcpus: 2, osVariant: 'rhel7', nics: [{}, {}] };
    await c.timed(c.life.images.set('base', { defaults }));
    expect(await c.done(c.clone('web'))).toBe('succeeded');
    expect(await c.done(c.clone('big', { memoryBytes: 2 ** 31 }))).toBe('succeeded');
    const [web, big] = [(await c.life.vms.get('web')).vm.spec, (await c.life.vms.get('big')).vm.spec];
    expect(web).toMatchObject({ memoryBytes: 2 ** 30, vcpus: 2, osVariant: 'rhel7' });
    expect(web.nics.map((n) => n.bridge)).toEqual(['br0', 'br0']);
    expect(big).toMatchObject({ memoryBytes: 2 ** 31, vcpus: 2 });
  });

  it('holds for a VM that is created with a disk of it, too, unless it shall have no card', async () => {
    await c.import('base');
    await c.timed(c.life.images.set('base', { defaults: { vcpus: 3, nics: [{}, {}] } }));
    const made = { vcpus: 0, memoryBytes: 0, diskSizeBytes: 0, host: '', bridge: '', mac: '', labels: {} };
    const definition = { disks: [{ image: 'base' }], nics: [] };
    const answer = await c.timed(
      c.life.making.create({ ...made, name: 'web', dryRun: true, definition, noNics: true }, 'test'),
    );
    expect(answer.view.vm.spec).toMatchObject({ vcpus: 3, nics: [] });
  });

  it('can hold nothing that belongs to one VM, one host or one person', async () => {
    await c.import('base');
    const set = (defaults: object) => said(c.life.images.set('base', { defaults }));
    expect(await set({ hostDevices: [{ pci: '0000:03:00.0' }] })).toContain('image base: hostDevices belongs to');
    expect(await set({ nics: [{ mac: '52:54:00:00:00:01' }] })).toContain('nics.0.mac belongs to');
    expect(await set({ graphics: [{ type: 'vnc', password: 'x' }] })).toContain('graphics.0.password would be shown');
    expect(await set({ disks: [{ image: 'other' }] })).toContain('disks are made from this image');
    expect((await c.life.images.get('base')).image.defaults).toBeUndefined();
  });
});
