/** What libvirt prints of a guest that runs, read and given back with one thing changed. */
import { describe, expect, it } from 'vitest';
import { cardWithLink, driveWith, readRunning } from './live.ts';
import { parseXml, printXml } from './tree.ts';

/** As libvirt 9 prints it, shortened. */
const RUNNING = `<domain type='qemu' id='3'>
  <memory unit='KiB'>1048576</memory>
  <vcpu placement='static' current='1'>2</vcpu>
  <devices>
    <disk type='file' device='disk'><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='qcow2' cache='none'/>
      <source file='/pool/a &amp; b.qcow2' index='1'/>
      <backingStore/>
      <target dev='sda' bus='sata'/>
      <readonly/>
      <boot order='2'/>
      <alias name='sata0-0-0'/>
      <address type='drive' controller='0' bus='0' target='0' unit='0'/>
    </disk>
    <interface type='bridge'>
      <mac address='52:54:00:01:02:03'/><source bridge='br0'/><target dev='vnet0'/><link state='down'/>
    </interface>
    <memballoon model='virtio'/>
  </devices>
</domain>`;

describe('a guest that runs', () => {
  it('says how far it may grow and what it has', () =>
    expect(readRunning(RUNNING)).toEqual({
      ...{ vcpus: 1, mostVcpus: 2, mostMemoryBytes: 2 ** 30, hasBalloon: true },
      ...{ drives: ['sda'], macs: ['52:54:00:01:02:03'] },
    }));

  it('without a balloon, or that grows no further, says so too', () => {
    const plain = RUNNING.replace(" current='1'", '').replace("'virtio'/>\n  </devices>", "'none'/>\n  </devices>");
    expect(readRunning(plain)).toMatchObject({ vcpus: 2, mostVcpus: 2, hasBalloon: false });
  });

  it('keeps all of a drive but its medium', () => {
    expect(driveWith(RUNNING, 'sda', '/pool/c.qcow2')).toMatchInlineSnapshot(`
      "<disk type="file" device="cdrom">
        <target dev="sda" bus="sata"/>
        <readonly/>
        <boot order="2"/>
        <alias name="sata0-0-0"/>
        <address type="drive" controller="0" bus="0" target="0" unit="0"/>
        <driver name="qemu" type="qcow2" cache="none"/>
        <source file="/pool/c.qcow2">
          <seclabel model="dac" relabel="no"/>
        </source>
        <backingStore/>
      </disk>"
    `);
    expect(driveWith(RUNNING, 'sda', undefined)).not.toMatch(/source|backingStore|qcow2/);
  });

  it('has no drive where a disk is', () => expect(driveWith(RUNNING, 'vda', '/x')).toBeUndefined());

  it('keeps all of a card but its link', () => {
    const up = cardWithLink(RUNNING, '52:54:00:01:02:03', false) ?? '';
    expect([up.match(/<link state="up"\/>/g), up.match(/vnet0/g)].map((m) => m?.length)).toEqual([1, 1]);
    expect(cardWithLink(RUNNING, '52:54:00:01:02:04', false)).toBeUndefined();
  });
});

it('XML is written again as it was read, and what is none is nothing', () => {
  const tree = parseXml(RUNNING);
  expect(parseXml(printXml(tree))).toEqual(tree);
  expect(parseXml('<<<')).toMatchObject({ name: '', children: [] });
});
