/** Images as an operator has them, on simulated hosts: versions, where they come from, what they say of VMs, captures. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import { TAR_END, tarHeader, tarPadding } from '@berth/shared/disk/tar.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { PROGRAMS } from '../harness/processes.ts';

interface Image {
  readonly name: string;
  readonly tags: readonly string[];
  readonly hidden: boolean;
  readonly sourceDigest: string;
}
interface Vm {
  readonly name: string;
  readonly spec: { readonly vcpus: number; readonly memoryBytes: number; readonly disks: { readonly image: string }[] };
}

const MIB = 2 ** 20;
const disk = (mark: number): Buffer => {
  const bytes = rawDisk(4 * MIB);
  bytes.fill(mark, 2 * MIB, 2 * MIB + 4096);
  return bytes;
};
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

const OVF = `<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="urn:r">
 <References><File ovf:id="f1" ovf:href="disk.img"/></References>
 <DiskSection><Disk ovf:diskId="d1" ovf:fileRef="f1" ovf:capacity="1"/></DiskSection>
 <VirtualSystem ovf:id="app"><VirtualHardwareSection>
  <Item><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>3</rasd:VirtualQuantity></Item>
  <Item><rasd:ResourceType>4</rasd:ResourceType><rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits><rasd:VirtualQuantity>256</rasd:VirtualQuantity></Item>
  <Item><rasd:ResourceType>17</rasd:ResourceType><rasd:HostResource>ovf:/disk/d1</rasd:HostResource></Item>
 </VirtualHardwareSection></VirtualSystem>
</Envelope>`;

function ova(manifest: string): Buffer {
  const members: [string, Buffer][] = [
    ['app.ovf', Buffer.from(OVF)],
    ['app.mf', Buffer.from(manifest)],
    ['disk.img', disk(9)],
  ];
  const parts = members.flatMap(([name, b]) => [tarHeader(name, b.length, 0), b, tarPadding(b.length)]);
  return Buffer.concat([...parts, TAR_END]);
}

describe('images', () => {
  let c: Cluster;
  let web: Server;
  let url: string;
  let dropped = 0;
  beforeAll(async () => {
    c = await Cluster.start();
    await Promise.all(['h1', 'h2'].map((h) => c.addSimulated(h)));
    await c.waitUp('h1', 'h2');
    for (const n of [1, 2]) writeFileSync(join(c.dir, `disk-${n}.img`), disk(n));
    // breaks off in the middle, more than once
    web = createServer((q, r) => {
      const [, from = '0', to = '0'] = /^bytes=(\d+)-(\d+)$/.exec(q.headers.range ?? '') ?? [];
      const bytes = disk(3).subarray(Number(from), Number(to) + 1);
      const range = `bytes ${from}-${Number(from) + bytes.length - 1}/${4 * MIB}`;
      r.writeHead(206, { 'content-range': range, 'content-length': bytes.length, etag: '"3"' });
      if (bytes.length < 2 * MIB) return r.end(bytes);
      dropped++;
      r.write(bytes.subarray(0, MIB), () => setImmediate(() => r.destroy()));
    });
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(web.address() as AddressInfo).port}/d/disk-3.img`;
  }, 120_000);
  afterAll(async () => {
    web?.close().closeAllConnections();
    await c?.stop();
  });
  const image = (name: string) => c.json<Image>('image', 'show', name);
  const vm = (name: string) => c.json<Vm>('vm', 'show', name);

  it('have versions: a name alone is the newest, and VMs keep what they were made from', async () => {
    await c.ok('image', 'import', join(c.dir, 'disk-1.img'), '--name', 'debian:12.3');
    await c.ok('vm', 'clone', 'debian', 'old');
    await c.ok('image', 'import', join(c.dir, 'disk-2.img'), '--name', 'debian:12.4', '--tag', 'testing');
    await c.ok('vm', 'clone', 'debian', 'new');
    expect([(await vm('old')).spec.disks[0]?.image, (await vm('new')).spec.disks[0]?.image]).toEqual([
      'debian:12.3',
      'debian:12.4',
    ]);
    expect(await c.ok('image', 'tag', 'debian:12.3', 'stable', 'debian:latest')).toBe(
      'debian:stable, debian:latest are image debian:12.3 now',
    );
    expect((await image('debian')).name).toBe('debian:12.3');
    expect((await image('debian:testing')).tags).toEqual(['testing']);
    // making it so again, with the name that moves: nothing to do
    expect(await c.ok('vm', 'clone', 'debian', 'old', 'new')).toMatch(/vm old is on h\d already/);
    await c.ok('image', 'untag', 'debian:latest');
    expect((await image('debian')).name).toBe('debian:12.4');
    expect((await c.berth('image', 'delete', 'debian:12.3')).err).toContain('the disks of vm old are based on it');
    expect(await c.ok('completion', 'words', 'image', 'show', '')).toContain('debian:stable');
  });

  it('say what their clones get, by flags and as a document that can be applied', async () => {
    await c.ok('image', 'set', 'debian:12.4', '--memory', '1GiB', '--vcpus', '2', '--keep-copies', '2');
    const yaml = await c.ok('image', 'show', 'debian:12.4', '-o', 'yaml');
    expect(yaml).toContain('memory: 1GiB');
    writeFileSync(join(c.dir, 'image.yaml'), yaml.replace('vcpus: 2', 'vcpus: 4').replace('- testing', '- next'));
    const planned = await c.berth('apply', '-f', join(c.dir, 'image.yaml'), '--dry-run');
    expect([planned.code, planned.out]).toEqual([1, expect.stringMatching(/tags.*next[\s\S]*spec/)]);
    await c.ok('apply', '-f', join(c.dir, 'image.yaml'));
    expect(await c.ok('apply', '-f', join(c.dir, 'image.yaml'), '--dry-run')).not.toContain('spec');
    expect((await image('debian:12.4')).tags).toEqual(['latest', 'next']);
    await c.ok('vm', 'clone', 'debian', 'sized');
    expect((await vm('sized')).spec).toMatchObject({ vcpus: 4, memoryBytes: 2 ** 30 });
  });

  it('come from a URL, over breaks, and are refused when they hash to something else', async () => {
    await c.ok('image', 'import', url, '--sha256', sha256(disk(3)));
    expect(dropped).toBeGreaterThan(1);
    expect(await image('disk-3')).toMatchObject({ sourceDigest: sha256(disk(3)) });
    const other = await c.berth('image', 'import', url, '--name', 'other', '--sha256', 'f'.repeat(64));
    expect(other.err).toMatch(/^berth: disk-3.img is not what it should be: its sha256 is [^\n]*$/);
    expect(other.code).toBe(1);
    expect((await c.berth('image', 'show', 'other')).code).toBe(3);
  });

  it('come from standard input', async () => {
    const said = await execa(process.execPath, [PROGRAMS.berth, 'image', 'import', '-', '--name', 'piped'], {
      env: { BERTH_CONFIG: c.configFile },
      input: disk(4),
    });
    expect(said.stdout).toContain('image piped imported to');
    expect(await image('piped')).toMatchObject({ sourceDigest: sha256(disk(4)) });
  });

  it('come from an OVA, with what it says of the machine; one that was changed is refused', async () => {
    writeFileSync(join(c.dir, 'app.ova'), ova(`SHA256(disk.img)= ${sha256(disk(9))}\n`));
    await c.ok('image', 'import', join(c.dir, 'app.ova'), '--vcpus', '1');
    expect(await image('app')).toMatchObject({ sourceDigest: sha256(disk(9)) });
    await c.ok('vm', 'clone', 'app', 'from-ova');
    expect((await vm('from-ova')).spec).toMatchObject({ vcpus: 1, memoryBytes: 2 ** 28 });
    writeFileSync(join(c.dir, 'bad.ova'), ova(`SHA256(disk.img)= ${sha256(disk(8))}\n`));
    expect((await c.berth('image', 'import', join(c.dir, 'bad.ova'))).err).toMatch(
      /^berth: disk\.img is not what it should be[^\n]*$/,
    );
    expect((await c.berth('image', 'show', 'bad')).code).toBe(3);
  });

  it('are exported: to a file, through a pipe, and as an OVA that comes back with what it says of the machine', async () => {
    await c.ok('image', 'export', 'debian:12.4', join(c.dir, 'out.qcow2'));
    expect(existsSync(join(c.dir, 'out.qcow2.part'))).toBe(false);
    const again = await c.berth('image', 'export', 'debian:12.4', join(c.dir, 'out.qcow2'));
    expect(again.err).toContain('exists already');
    const piped = await execa(
      process.execPath,
      [PROGRAMS.berth, 'image', 'export', 'debian', '-', '--format', 'qcow2'],
      {
        env: { BERTH_CONFIG: c.configFile },
        encoding: 'buffer',
      },
    );
    expect(readFileSync(join(c.dir, 'out.qcow2')).equals(Buffer.from(piped.stdout))).toBe(true);
    await c.ok('image', 'export', 'debian', join(c.dir, 'out.ova'));
    await execa('tar', ['-tf', join(c.dir, 'out.ova')]);
    await c.ok('image', 'import', join(c.dir, 'out.ova'), '--name', 'back');
    await c.ok('vm', 'clone', 'back', 'from-export');
    expect((await vm('from-export')).spec).toMatchObject({ vcpus: 4, memoryBytes: 2 ** 30 });
    expect((await c.json('job', 'list', '--open')).length).toBe(0);
  });

  it('are not left half exported when nobody reads them any more, and it is told', async () => {
    writeFileSync(join(c.dir, 'wide.img'), Buffer.concat([disk(6), randomBytes(4 * MIB)]));
    await c.ok('image', 'import', join(c.dir, 'wide.img'));
    const command = `"$0" "$1" image export wide - --format raw | head -c 100; exit \${PIPESTATUS[0]}`;
    const left = await execa('bash', ['-c', command, process.execPath, PROGRAMS.berth], {
      env: { BERTH_CONFIG: c.configFile },
      reject: false,
    });
    expect([left.exitCode, left.stderr]).toEqual([
      1,
      expect.stringMatching(/^berth: nobody reads standard output any more, after .* of it$/),
    ]);
    await c.quiet();
    await c.ok('image', 'delete', 'wide');
  });

  it('go from hosts where nothing needs them, and it is told why the others stay', async () => {
    for (const h of ['h1', 'h2']) await c.ok('vm', 'clone', 'piped', `piped-${h}`, '--host', h);
    await c.ok('vm', 'delete', 'piped-h1');
    const plan = await c.ok('image', 'prune', '--dry-run');
    expect(plan).toMatch(/^piped +h1 .*goes +nothing there needs it$/m);
    expect(plan).toMatch(/^piped +h2 .*stays +a VM, a volume or a drive there needs it$/m);
    expect(plan).toMatch(/^app .*stays/m);
    expect(await c.ok('image', 'prune', '--unused-for', '7d')).toBe('');
    await c.ok('image', 'prune');
    const { copies } = await c.json<{ copies: { host: string }[] }>('image', 'show', 'piped');
    expect(copies.map((k) => k.host)).toEqual(['h2']);
  });

  it('are captured of VMs, running or not, which are cloned so', async () => {
    await c.ok('vm', 'start', 'sized');
    expect(await c.ok('image', 'capture', 'sized', '--name', 'golden:1')).toMatch(/captured as image golden:1 sha256:/);
    expect(await c.ok('image', 'capture', 'sized', '--name', 'golden:2', '--generalize')).toMatch(
      /captured as image golden:2 sha256:.*; Debian GNU\/Linux 12 \(bookworm\), .*generalized/,
    );
    const dry = await c.berth('vm', 'clone', 'sized', 'twin-1', 'twin-2', '--dry-run');
    expect([dry.code, dry.out, dry.err]).toEqual([
      ...[0, expect.stringMatching(/^twin-1 +h\d[^]*^twin-2 +h\d/m), '2 of 2 would be made.'],
    ]);
    const refused = await c.berth('vm', 'clone', 'sized', 'twin-1', 'twin-2', '--memory', '900GiB');
    expect([refused.code, refused.err]).toEqual([
      expect.any(Number),
      expect.stringMatching(/^berth: nothing was made:\n.*twin-1.*no host has room/),
    ]);
    expect((await c.json<Image[]>('image', 'list', '--all')).filter((i) => i.hidden)).toEqual([]);
    const said = await c.ok('vm', 'clone', 'sized', 'twin-1', 'twin-2');
    expect(said).toMatch(/^vm sized +captured/m);
    expect((await vm('twin-1')).spec).toMatchObject({ vcpus: 4, memoryBytes: 2 ** 30 });
    expect((await c.json<Image[]>('image', 'list')).some((i) => i.hidden)).toBe(false);
    expect((await c.json<Image[]>('image', 'list', '--all')).filter((i) => i.hidden)).toHaveLength(1);
    // the same command again captures nothing
    expect((await c.berth('vm', 'clone', 'sized', 'twin-1', 'twin-2')).err).toContain('2 of 2 are there already');
    expect((await c.json<Image[]>('image', 'list', '--all')).filter((i) => i.hidden)).toHaveLength(1);
    const both = await c.berth('vm', 'clone', 'app', 'x');
    expect(both.code).toBe(0);
    await c.ok('image', 'capture', 'x');
    expect((await c.berth('vm', 'clone', 'x', 'y')).err).toContain('x is an image and a vm');
    await c.ok('vm', 'clone', 'image/x', 'y');
  });
});
