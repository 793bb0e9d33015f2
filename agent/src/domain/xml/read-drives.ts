/** Disks and CD-ROM drives: from XML. Whose files they are comes from the caller. Pure. */
import type { CdromBus, DiskOptions } from '@berth/shared/hardware/schema.ts';
import { CDROM_BUSES } from '@berth/shared/hardware/schema.ts';
import { busOf } from '@berth/shared/hardware/targets.ts';
import type { VolumeSeen } from '../../drivers/disks.ts';
import { blockName } from './block-source.ts';
import { QOS, usualCache, usualSerial } from './disk.ts';
import type { DomainHost } from './host.ts';
import { oneOf, said } from './said.ts';
import { attributeAt, find, textAt, type XmlElement } from './tree.ts';
import { pciOf } from './units.ts';

export const targetOf = (disk: XmlElement): string => attributeAt(disk, 'dev', 'target') ?? '';
export const isDrive = (disk: XmlElement): boolean => disk.attributes['device'] === 'cdrom';

export function fileOf(disk: XmlElement): string {
  const source = find(disk, 'source')?.attributes ?? {};
  const { file, dev, volume } = source;
  return file ?? dev ?? volume ?? blockName(source);
}

/** Undefined when nothing is said about it. @param fixed it is at the address that it was asked to be at */
export function readDiskOptions(
  e: XmlElement,
  volume: VolumeSeen,
  host: Pick<DomainHost, 'directIo'>,
  fixed: boolean,
): DiskOptions | undefined {
  const driver = find(e, 'driver')?.attributes ?? {};
  const usualBus = busOf(targetOf(e));
  const serial = textAt(e, 'serial');
  return said({
    bus: oneOf(['virtio', 'scsi', 'sata', 'ide', 'usb'], attributeAt(e, 'bus', 'target'), usualBus),
    cache: oneOf(
      ['none', 'writeback', 'writethrough', 'directsync', 'unsafe'],
      driver['cache'],
      usualCache({ directIo: volume.directIo ?? host.directIo }),
    ),
    io: oneOf(['threads', 'native', 'io_uring'], driver['io'], 'threads'),
    discard: oneOf(['unmap', 'ignore'], driver['discard'], 'unmap'),
    detectZeroes: oneOf(['off', 'on', 'unmap'], driver['detect_zeroes'], 'off'),
    serial: serial === '' || serial === usualSerial(volume.volumeId) ? undefined : serial,
    readOnly: find(e, 'readonly') && true,
    ioThread: driver['iothread'] === undefined ? undefined : Number(driver['iothread']),
    qos: readQos(find(e, 'iotune')),
    pciAddress: fixed ? pciOf(find(e, 'address')) : undefined,
    format: volume.format === 'raw' ? 'raw' : undefined,
  });
}

function readQos(e: XmlElement | undefined): DiskOptions['qos'] {
  const limits = QOS.flatMap(([name, key]) => {
    const limit = Number(textAt(e, name));
    return limit > 0 ? [[key, limit] as const] : [];
  });
  return limits.length === 0 ? undefined : Object.fromEntries(limits);
}

export interface DriveRead {
  readonly target: string;
  readonly bus: CdromBus;
  readonly imageDigest: string | undefined;
}

/** @param images digests by the path of their file */
export function readDrive(e: XmlElement, images: ReadonlyMap<string, string>): DriveRead {
  const bus = CDROM_BUSES.find((b) => b === attributeAt(e, 'bus', 'target')) ?? 'sata';
  return { target: targetOf(e), bus, imageDigest: images.get(fileOf(e)) };
}
