/**
 * Definitions with a real libvirt and QEMU: what Berth writes is by libvirt's own schema, is taken, is read back from what
 * libvirt makes of it, before and after a start, and QEMU starts it. No controller is involved.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeDomain } from '@berth/agent/domain/describe.ts';
import { MeansCheck } from '@berth/agent/domain/means/means-check.ts';
import { readMark } from '@berth/agent/domain/metadata.ts';
import { checkDomainSpec, type DomainSpec } from '@berth/agent/domain/spec.ts';
import { domainXml } from '@berth/agent/domain/xml/definition.ts';
import { host, IMAGE, images, THEMES, volumesOf } from '@berth/agent/domain/xml/themes.fixture.ts';
import type { Hypervisor } from '@berth/agent/drivers/hypervisor.ts';
import { createLibvirtHypervisor } from '@berth/agent/drivers/libvirt/hypervisor.ts';
import { createMeans } from '@berth/agent/drivers/linux/means.ts';
import { READY_SOCKET } from '@berth/deploy/lab/host-container.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { systemRandom } from '@berth/shared/runtime/random.ts';
import { describeLab } from '../harness/lab.ts';
import { eventually } from '../harness/processes.ts';

const port = (n: number) => ({ graphics: [{ type: 'vnc' as const, listen: '0.0.0.0', port: n }] });

const FIXTURES = join(import.meta.dirname, '../../agent/src/domain/xml/dumped');
/** What is kept of what libvirt prints, for tests without one. */
const KEPT = ['sample', 'drives', 'sizes', 'screens', 'devices', 'uefi-secure', 'everything'];
/** The machine of the lab has no such devices, no huge pages, and a kernel that can't limit a card. */
const NOT_STARTED = ['host-devices', 'everything', 'pages', 'bandwidth'];

describeLab('hardware', { hosts: ['h1'] }, (lab) => {
  let hypervisor: Hypervisor;
  const run = (...argv: string[]) => lab().host('h1').run(argv);
  const shell = (script: string) => run('sh', '-euc', script);

  beforeAll(async () => {
    hypervisor = createLibvirtHypervisor({
      socketPath: await lab().host('h1').pathFromOutside(READY_SOCKET),
      ...{ clock: systemClock, random: systemRandom, log: createLog('test', 'silent') },
    });
    const volumes = Object.values(THEMES).flatMap((s) =>
      [...volumesOf(s)].map(
        ([path, v]) => `qemu-img create -q -f ${v.seed ? 'raw' : (v.format ?? 'qcow2')} ${path} 1M`,
      ),
    );
    await shell(
      [
        'cd /var/lib/berth; mkdir -p volumes images serial boot',
        `qemu-img create -q -f qcow2 ${host.mediumPath(IMAGE)} 1M`,
        ...new Set(volumes),
        'dpkg-deb --fsys-tarfile /usr/share/berth-guest/linux-image-*.deb | tar -xO --wildcards "./boot/vmlinuz-*" >boot/vmlinuz',
        // a file system with nothing in it: the kernel says who it is before it looks for one
        'gzip </dev/null >boot/initrd.img',
      ].join('\n'),
    );
  }, 60_000);
  afterAll(() => hypervisor?.close());

  const metadata = async (uuid: string) => (await hypervisor.list()).find((d) => d.uuid === uuid)?.metadataXml;

  const logOf = (spec: DomainSpec) => host.serialLogPath.replace('vm-web', spec.vmId);

  /** What is read from what libvirt has stored. */
  async function stored(spec: DomainSpec) {
    const mark = readMark(await metadata(spec.uuid))!;
    const xml = await hypervisor.getXml(spec.uuid);
    return { xml, ...describeDomain({ xml, mark, volumes: volumesOf(spec), images, host }) };
  }

  async function defined(spec: DomainSpec): Promise<void> {
    await hypervisor.undefine(spec.uuid);
    await hypervisor.define(domainXml(spec, { ...host, serialLogPath: logOf(spec) }));
  }

  it.each(Object.entries(THEMES))('takes, starts and gives back: %s', async (name, theme) => {
    const spec = checkDomainSpec(theme);
    await lab().host('h1').writeFile('/tmp/domain.xml', domainXml(spec, host));
    await run('virt-xml-validate', '/tmp/domain.xml', 'domain');
    await defined(spec);
    const { xml, spec: found, changes } = await stored(spec);
    if (process.env['UPDATE_GOLDEN'] === '1' && KEPT.includes(name)) writeFileSync(join(FIXTURES, `${name}.xml`), xml);
    expect(changes).toEqual([]);
    if (name !== 'everything') expect(found).toEqual(spec);
    if (NOT_STARTED.includes(name)) return;
    await hypervisor.start(spec.uuid);
    expect((await hypervisor.list()).find((d) => d.uuid === spec.uuid)?.power).toBe('running');
    await hypervisor.destroy(spec.uuid);
    // a start may fill in more: where the firmware keeps its variables
    expect(await stored(spec)).toMatchObject({ spec: found, changes: [] });
  });

  it('tells what a machine can have, and of which there is none', async () => {
    const q35 = await hypervisor.machineAbilities('q35', 'qemu');
    expect(q35).toMatchObject({ secureBoot: true, firmwares: expect.arrayContaining(['efi']) });
    expect(q35.tpms).toContain('emulator');
    expect(q35.cpuModels).toEqual(expect.arrayContaining(['qemu64', 'Westmere', 'Skylake-Client']));
    expect(q35.graphics).toEqual(expect.arrayContaining(['vnc', 'spice']));
    expect(q35.videos).toEqual(expect.arrayContaining(['vga', 'qxl', 'virtio', 'cirrus']));
    await expect(hypervisor.machineAbilities('pc-q35-99.0', 'qemu')).rejects.toMatchObject({
      reason: 'INVALID_ARGUMENT',
    });
  });

  it('a disk that another guest has is told by its name, and a screen needs a port of its own', async () => {
    const web = checkDomainSpec({ ...THEMES['ide']!, hardware: { machine: 'pc', ...port(5977) } });
    const db = { ...web, uuid: web.uuid.replace('6f1c', '7a2d'), name: 'db', vmId: 'vm-db' };
    await defined(web);
    await defined(db);
    await hypervisor.start(web.uuid);
    const check = new MeansCheck({
      ...{ hypervisor, hostName: 'h1', bootDir: host.bootDir },
      abilities: async () => ({ domainType: 'qemu' }),
      means: {
        ...createMeans(async () => Promise.reject(new Error('not looked at'))),
        listeningPorts: async () => new Set(),
      },
    });
    await expect(check.beforeStart(db.uuid)).rejects.toThrow(/by vnc on port 5977, which vm web on h1 uses/);
    const other = { ...db, hardware: { machine: 'pc', ...port(5978) } };
    await hypervisor.define(domainXml(other, { ...host, serialLogPath: logOf(db) }));
    await check.beforeStart(db.uuid);
    const failure: unknown = await hypervisor.start(db.uuid).then(
      () => undefined,
      (e: unknown) => e,
    );
    expect(String(await check.explain(db, failure))).toMatch(
      /vm db cannot start: \S+volume-hd[ab]\.qcow2 is in use by web, another guest on h1\. Stop that first/,
    );
    for (const { uuid } of [web, db]) await hypervisor.destroy(uuid);
    for (const { uuid } of [web, db]) await hypervisor.undefine(uuid);
  });

  it('boots a kernel of the boot directory', async () => {
    const spec = checkDomainSpec(THEMES['kernel']!);
    await defined(spec);
    await hypervisor.start(spec.uuid);
    await eventually('the kernel is there', async () =>
      (await shell(`cat ${host.serialLogPath}`)).includes('Linux version'),
    );
    await hypervisor.destroy(spec.uuid);
  });
});
