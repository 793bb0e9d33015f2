import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TAR_END, tarHeader, tarPadding } from '@berth/shared/disk/tar.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readAppliance, readManifest } from './ova.ts';
import { writeManifest, writeOvf } from './ovf-write.ts';
import { readOvf } from './ovf.ts';
import { fileSource, type ByteSource } from './source/source.ts';

let dir: string;
const open: ByteSource[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-ova-'));
});
afterEach(async () => {
  for (const s of open.splice(0)) await s.close();
  await rm(dir, { recursive: true });
});

const item = (type: number, more: string): string =>
  `<Item><rasd:InstanceID>${type}</rasd:InstanceID><rasd:ResourceType>${type}</rasd:ResourceType>${more}</Item>`;
const HARDWARE = [
  item(3, '<rasd:VirtualQuantity>2</rasd:VirtualQuantity>'),
  item(4, '<rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:VirtualQuantity>1024</rasd:VirtualQuantity>'),
  item(10, '<rasd:ResourceSubType>E1000</rasd:ResourceSubType>'),
  item(10, '<rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType>'),
  item(17, '<rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource>'),
  '<vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>',
];
const ovf = (hardware = HARDWARE.join(''), file = 'disk.vmdk', head = ''): string => `<?xml version="1.0"?>${head}
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
 <References><File ovf:id="file1" ovf:href="${file}"/></References>
 <DiskSection><Disk ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:capacity="1"/></DiskSection>
 <VirtualSystem ovf:id="web"><Name>web</Name><VirtualHardwareSection>${hardware}</VirtualHardwareSection></VirtualSystem>
</Envelope>`;

const sum = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');

async function ova(...members: (readonly [string, string | Buffer])[]): Promise<ByteSource> {
  const parts = members.flatMap(([name, data]) => {
    const bytes = Buffer.from(data);
    return [tarHeader(name, bytes.length, 0), bytes, tarPadding(bytes.length)];
  });
  await writeFile(join(dir, 'a.ova'), Buffer.concat([...parts, TAR_END]));
  const source = await fileSource(join(dir, 'a.ova'));
  open.push(source);
  return source;
}

const drain = async (s: ByteSource): Promise<Buffer> => {
  const all = [];
  for await (const b of s.stream()) all.push(b);
  return Buffer.concat(all);
};
const DISK = Buffer.alloc(600_000, 'disk');

describe('an OVA', () => {
  it('is its disks, and what machine they are of', async () => {
    const sums = `SHA256(a.ovf)= ${sum(ovf())}\nSHA256(disk.vmdk)= ${sum(DISK)}\n`;
    const found = await readAppliance(await ova(['a.ovf', ovf()], ['a.mf', sums], ['disk.vmdk', DISK]), undefined);
    expect(found?.defaults).toEqual({
      ...{ vcpus: 2, memoryBytes: 2 ** 30, firmware: { type: 'uefi' } },
      nics: [{ model: 'e1000' }, {}],
    });
    expect(found?.disks.map((d) => d.name)).toEqual(['disk.vmdk']);
    expect((await drain(found!.disks[0]!)).equals(DISK)).toBe(true);
  });

  it('whose disk is not what its manifest says never arrives whole', async () => {
    const source = await ova(['a.ovf', ovf()], ['disk.vmdk', DISK], ['a.mf', `SHA256(disk.vmdk)= ${sum('other')}\n`]);
    const [disk] = (await readAppliance(source, undefined))!.disks;
    let came = 0;
    const all = (async () => {
      for await (const b of disk!.stream()) came += b.length;
    })();
    await expect(all).rejects.toMatchObject({ reason: 'UNSAFE_IMAGE' });
    expect(came).toBeLessThan(DISK.length);
  });

  it('is refused when its description or its manifest is wrong, or a disk is missing', async () => {
    const refused = async (why: RegExp, ...members: (readonly [string, string | Buffer])[]): Promise<void> => {
      await expect(readAppliance(await ova(...members), undefined)).rejects.toThrow(why);
    };
    await refused(/without an OVF/, ['x', 'y']);
    await refused(/lacks disk.vmdk/, ['a.ovf', ovf()]);
    await refused(/manifest that cannot be read/, ['a.ovf', ovf()], ['a.mf', 'nonsense'], ['disk.vmdk', DISK]);
    await refused(/sha256 is/, ['a.ovf', ovf()], ['a.mf', `SHA256(a.ovf)= ${sum('x')}`], ['disk.vmdk', DISK]);
    await refused(/without a disk/, ['a.ovf', ovf(item(3, ''))], ['disk.vmdk', DISK]);
    await refused(/entities/, ['a.ovf', ovf('', 'd', '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/shadow">]>')]);
    await refused(/with a path/, ['a.ovf', ovf(HARDWARE.join(''), '../../etc/shadow')]);
    await refused(/with a path/, ['a.ovf', ovf(HARDWARE.join(''), '/etc/shadow')]);
  });

  it('may lie unpacked: the disk is the file beside its description', async () => {
    await writeFile(join(dir, 'a.ovf'), ovf());
    await writeFile(join(dir, 'disk.vmdk'), DISK);
    const source = await fileSource(join(dir, 'a.ovf'));
    open.push(source);
    const found = await readAppliance(source, join(dir, 'a.ovf'));
    open.push(...found!.disks);
    expect(found?.disks[0]?.sizeBytes).toBe(DISK.length);
    await expect(readAppliance(source, undefined)).rejects.toThrow('whose disks are other files');
  });

  it('does not take along what a link beside its description leads to', async () => {
    const path = join(dir, 'box', 'a.ovf');
    await mkdir(join(dir, 'box'));
    await writeFile(path, ovf());
    await writeFile(join(dir, 'secret.vmdk'), DISK);
    await symlink('../secret.vmdk', join(dir, 'box', 'disk.vmdk'));
    const source = await fileSource(path);
    open.push(source);
    await expect(readAppliance(source, path)).rejects.toThrow('a.ovf names disk.vmdk, a link that leads elsewhere');
    // the folder itself may be behind one
    await symlink('box', join(dir, 'here'));
    await rm(join(dir, 'box', 'disk.vmdk'));
    await writeFile(join(dir, 'box', 'disk.vmdk'), DISK);
    open.push(...(await readAppliance(source, join(dir, 'here', 'a.ovf')))!.disks);
  });

  it('is held against the manifest that lies beside it, unpacked too', async () => {
    const path = join(dir, 'a.ovf');
    await writeFile(path, ovf());
    await writeFile(join(dir, 'disk.vmdk'), DISK);
    await writeFile(join(dir, 'a.mf'), `SHA256(a.ovf)= ${sum(ovf())}\nSHA256(disk.vmdk)= ${sum('other')}\n`);
    const source = await fileSource(path);
    open.push(source);
    const [disk] = (await readAppliance(source, path))!.disks;
    open.push(disk!);
    await expect(drain(disk!)).rejects.toThrow(/^disk\.vmdk is not what it should be: .* by its manifest/);
    await writeFile(join(dir, 'a.mf'), `SHA256(a.ovf)= ${sum('other')}\n`);
    await expect(readAppliance(source, path)).rejects.toThrow(/^a\.ovf is not what it should be/);
  });

  it('is not what any other file is', async () => {
    await writeFile(join(dir, 'x'), 'QFI\xfb');
    const source = await fileSource(join(dir, 'x'));
    open.push(source);
    expect(await readAppliance(source, join(dir, 'x'))).toBeUndefined();
  });
});

describe('the description of a machine', () => {
  it('is read in the units that people use, and absurd sizes are left out', () => {
    const memory = (units: string, n: string) =>
      readOvf(
        'x',
        ovf(
          item(
            4,
            `<rasd:AllocationUnits>${units}</rasd:AllocationUnits><rasd:VirtualQuantity>${n}</rasd:VirtualQuantity>`,
          ),
        ),
      ).defaults.memoryBytes;
    expect([
      memory('MegaBytes', '512'),
      memory('byte * 2^30', '2'),
      memory('', '64'),
      memory('GigaBytes', '1'),
    ]).toEqual([2 ** 29, 2 ** 31, 2 ** 26, 2 ** 30]);
    expect([memory('byte * 2^99', '9'), memory('MB', '-1'), memory('MB', '1')]).toEqual([
      9 * 2 ** 40,
      undefined,
      undefined,
    ]);
  });
});

describe('a description that is written here', () => {
  it('says the same when it is read again', () => {
    const defaults = {
      ...{ vcpus: 3, memoryBytes: 768 * 2 ** 20, firmware: { type: 'uefi' as const } },
      nics: [{ model: 'e1000' as const }, { model: 'virtio' as const }],
    };
    const text = writeOvf({ name: 'a<b>&"c', file: 'd.vmdk', fileBytes: 7, virtualSizeBytes: 2 ** 30, defaults });
    expect(readOvf('x', text)).toMatchObject({ disks: [{ file: 'd.vmdk' }], defaults });
    const sum = 'a'.repeat(64);
    expect(readManifest({ name: 'x' }, writeManifest([{ file: 'd (1).vmdk', sha256: sum }]))).toEqual(
      new Map([['d (1).vmdk', { algorithm: 'sha256', digest: sum }]]),
    );
  });
});
