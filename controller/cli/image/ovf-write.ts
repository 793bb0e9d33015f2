/** The description and the manifest of an OVA that is exported: one machine with one disk, in words that other programs read. Pure. */
import type { VmDefinition } from '@berth/shared/hardware/definition.ts';

export interface Described {
  /** Of the machine; part of file names too. */
  readonly name: string;
  readonly file: string;
  readonly fileBytes: number;
  readonly virtualSizeBytes: number;
  readonly defaults: VmDefinition;
}

const MIB = 2 ** 20;
/** As of a VM of which nothing is said. */
const USUAL = { vcpus: 1, memoryBytes: 512 * MIB, nics: 1 };
const escape = (text: string): string => text.replace(/[<>&'"]/g, (c) => `&#${c.charCodeAt(0)};`);

const NICS: Readonly<Record<string, string>> = {
  e1000: 'E1000',
  e1000e: 'E1000e',
  rtl8139: 'RTL8139',
  virtio: 'virtio',
};

/** Elements in the order of their names, as the schema asks. */
const item = (fields: Readonly<Record<string, string | number>>): string =>
  `      <Item>\n${Object.entries(fields)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([k, v]) => `        <rasd:${k}>${escape(String(v))}</rasd:${k}>\n`)
    .join('')}      </Item>\n`;

export function writeOvf({ name, file, fileBytes, virtualSizeBytes, defaults }: Described): string {
  const { vcpus = USUAL.vcpus, memoryBytes = USUAL.memoryBytes } = defaults;
  const memoryMib = Math.max(1, Math.round(memoryBytes / MIB));
  const nics = defaults.nics ?? Array.from({ length: USUAL.nics }, () => ({ model: undefined }));
  const network = 'VM Network';
  const items = [
    item({ InstanceID: 1, ResourceType: 3, ElementName: `${vcpus} virtual CPUs`, VirtualQuantity: vcpus }),
    item({
      ...{ InstanceID: 2, ResourceType: 4, ElementName: `${memoryMib} MiB of memory` },
      ...{ AllocationUnits: 'byte * 2^20', VirtualQuantity: memoryMib },
    }),
    item({ InstanceID: 3, ResourceType: 20, ResourceSubType: 'AHCI', ElementName: 'SATA controller 0', Address: 0 }),
    item({
      ...{ InstanceID: 4, ResourceType: 17, ElementName: 'disk 0' },
      ...{ HostResource: 'ovf:/disk/disk1', Parent: 3, AddressOnParent: 0 },
    }),
    ...nics.map((n, i) =>
      item({
        ...{ InstanceID: 5 + i, ResourceType: 10, ResourceSubType: NICS[n.model ?? 'virtio'] ?? 'E1000' },
        ...{
          ElementName: `network card ${i}`,
          Connection: network,
          AutomaticAllocation: 'true',
          AddressOnParent: 7 + i,
        },
      }),
    ),
  ].join('');
  const firmware =
    defaults.firmware?.type === 'uefi'
      ? `      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>\n`
      : '';
  return `<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:href="${escape(file)}" ovf:id="file1" ovf:size="${fileBytes}"/>
  </References>
  <DiskSection>
    <Info>Disks of the machine</Info>
    <Disk ovf:capacity="${virtualSizeBytes}" ovf:capacityAllocationUnits="byte" ovf:diskId="disk1" ovf:fileRef="file1" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>Networks of the machine</Info>
    <Network ovf:name="${network}">
      <Description>Where its cards are to be connected</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="${escape(name)}">
    <Info>A virtual machine</Info>
    <Name>${escape(name)}</Name>
    <OperatingSystemSection ovf:id="102">
      <Info>The guest</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>What it is made of</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>${escape(name)}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-10</vssd:VirtualSystemType>
      </System>
${items}${firmware}    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
`;
}

export const writeManifest = (sums: readonly { readonly file: string; readonly sha256: string }[]): string =>
  sums.map(({ file, sha256 }) => `SHA256(${file})= ${sha256}\n`).join('');
