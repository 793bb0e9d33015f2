/**
 * Definitions with a real libvirt and QEMU: what Berth writes is by libvirt's own schema, is taken, is read back from what
 * libvirt makes of it, before and after a start, and QEMU starts it. No controller is involved.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeDomain } from '@berth/agent/domain/describe.ts';
import { readMark } from '@berth/agent/domain/metadata.ts';
import { checkDomainSpec, type DomainSpec } from '@berth/agent/domain/spec.ts';
import { domainXml } from '@berth/agent/domain/xml/definition.ts';
import { host, IMAGE, images, THEMES, volumesOf } from '@berth/agent/domain/xml/themes.fixture.ts';
import type { Hypervisor } from '@berth/agent/drivers/hypervisor.ts';
import { createLibvirtHypervisor } from '@berth/agent/drivers/libvirt/hypervisor.ts';
import { READY_SOCKET } from '@berth/deploy/lab/host-container.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { systemRandom } from '@berth/shared/runtime/random.ts';
import { describeLab } from '../harness/lab.ts';

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

  /** What is read from what libvirt has stored. */
  async function stored(spec: DomainSpec) {
    const mark = readMark(await metadata(spec.uuid))!;
    const xml = await hypervisor.getXml(spec.uuid);
    return { xml, ...describeDomain({ xml, mark, volumes: volumesOf(spec), images, host }) };
  }

  async function defined(spec: DomainSpec): Promise<void> {
    await hypervisor.undefine(spec.uuid);
    await hypervisor.define(domainXml(spec, host));
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
});
