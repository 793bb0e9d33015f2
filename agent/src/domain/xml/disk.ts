/** Disks, the seed, CD-ROM drives and the controllers that they need: to XML. Reading them is read-drives.ts's. Pure. */
import type { DiskOptions } from '@berth/shared/hardware/schema.ts';
import { busOf } from '@berth/shared/hardware/targets.ts';
import type { BlockSource } from '../../drivers/disks.ts';
import type { DomainSpec } from '../spec.ts';
import { bootXml } from './boot.ts';
import type { DomainHost } from './host.ts';
import { blockSourceXml } from './block-source.ts';
import { el, textEl, type Node } from './text.ts';
import { pciXml } from './units.ts';

type Disk = DomainSpec['disks'][number];
type Cdrom = NonNullable<DomainSpec['cdroms']>[number];

/**
 * `none` bypasses the host's page cache: no double caching, memory stays for guests, and a live migration sees the same
 * bytes on both sides. A file system without O_DIRECT (tmpfs) refuses it; `writeback` is as safe there, since the guest's
 * flushes reach the disk either way.
 */
export const usualCache = (host: Pick<DomainHost, 'directIo'>): 'none' | 'writeback' =>
  host.directIo ? 'none' : 'writeback';

export const usualSerial = (volumeId: string): string => volumeId.slice(-20);

export function diskXml(s: DomainSpec, d: Disk, index: number, host: DomainHost): string {
  const o = d.options ?? {};
  const source = host.volumeSource?.(d.volumeId);
  return el(
    'disk',
    { type: source?.type ?? 'file', device: 'disk' },
    driver(
      o,
      host.volumeFormat(d.volumeId),
      { directIo: host.volumeDirectIo?.(d.volumeId) ?? host.directIo },
      host.baseSocket?.(d.volumeId) !== undefined,
    ),
    source ? blockSourceXml(source) : el('source', { file: host.volumePath(d.volumeId, false) }),
    socketBacking(host.baseSocket?.(d.volumeId)) ?? backing(host.imagePath(d.volumeId)),
    el('target', { dev: d.target, bus: o.bus ?? busOf(d.target) }),
    textEl('serial', {}, o.serial ?? usualSerial(d.volumeId)),
    o.readOnly === true ? el('readonly', {}) : undefined,
    bootXml(s, 'disk', index),
    iotune(o.qos),
    pciXml(o.pciAddress),
  );
}

/** A guest whose image is still coming is paused by a read that nobody answers, and goes on later: it sees no error. */
const driver = (o: DiskOptions, type: string, host: Pick<DomainHost, 'directIo'>, isFilling: boolean): string =>
  el('driver', {
    ...{ name: 'qemu', type, cache: o.cache ?? usualCache(host) },
    ...(isFilling && { error_policy: 'stop', rerror_policy: 'stop' }),
    discard: o.discard ?? 'unmap',
    io: o.io === 'threads' ? undefined : o.io,
    detect_zeroes: o.detectZeroes === 'off' ? undefined : o.detectZeroes,
    iothread: o.ioThread,
  });

export const QOS = [
  ['total_bytes_sec', 'totalBytesPerSecond'],
  ['read_bytes_sec', 'readBytesPerSecond'],
  ['write_bytes_sec', 'writeBytesPerSecond'],
  ['total_iops_sec', 'totalOperationsPerSecond'],
  ['read_iops_sec', 'readOperationsPerSecond'],
  ['write_iops_sec', 'writeOperationsPerSecond'],
] as const;

function iotune(qos: DiskOptions['qos']): Node {
  const limits = QOS.flatMap(([name, key]) => (qos?.[key] === undefined ? [] : [textEl(name, {}, qos[key])]));
  return limits.length === 0 ? undefined : el('iotune', {}, ...limits);
}

/**
 * The whole chain is said, so libvirt looks for it in no file. libvirt gives a VM's own disks to QEMU's user when it starts
 * (dynamic_ownership); an image it must leave alone: it is root's and read-only for everybody, many VMs and the export of
 * images use it, and whoever owns it could make it writable and change them all.
 */
const backing = (imagePath: string | undefined): string =>
  imagePath === undefined
    ? el('backingStore', {})
    : el(
        'backingStore',
        { type: 'file' },
        el('format', { type: 'qcow2' }),
        el('source', { file: imagePath }, noRelabel),
        el('backingStore', {}),
      );

/** libvirt before 9.5 does not know `reconnect`: then the guest is paused while whoever serves the socket is started anew. */
const socketBacking = (socket: string | undefined): string | undefined =>
  socket === undefined
    ? undefined
    : el(
        'backingStore',
        { type: 'network' },
        el('format', { type: 'raw' }),
        el(
          'source',
          { protocol: 'nbd', name: 'base' },
          el('host', { transport: 'unix', socket }),
          el('reconnect', { delay: RECONNECT_S }),
        ),
        el('backingStore', {}),
      );

const RECONNECT_S = 10;

/** The file, or what is none, that a running guest's disk is copied to. */
export const copiedDiskXml = (to: {
  readonly file: string;
  readonly source?: BlockSource;
  readonly format: string;
  readonly backingPath: string | undefined;
  readonly directIo: boolean;
}): string =>
  el(
    'disk',
    { type: to.source?.type ?? 'file', device: 'disk' },
    el('driver', { name: 'qemu', type: to.format, cache: usualCache(to), discard: 'unmap' }),
    to.source ? blockSourceXml(to.source) : el('source', { file: to.file }),
    backing(to.backingPath),
  );

const noRelabel = el('seclabel', { model: 'dac', relabel: 'no' });

/**
 * A virtio disk, not a SATA CD-ROM: kernels made for clouds have no AHCI driver, and whatever boots from virtio finds it.
 * cloud-init goes by the label. Last in order, so that adding a disk doesn't rename it.
 */
export const seedXml = (volumeId: string, host: DomainHost): string =>
  el(
    'disk',
    { type: 'file', device: 'disk' },
    el('driver', { name: 'qemu', type: 'raw' }),
    el('source', { file: host.volumePath(volumeId, true) }),
    backing(undefined),
    el('target', { dev: 'vdz', bus: 'virtio' }),
    el('readonly', {}),
  );

/** Its medium is an image, which on this host is a qcow2 file whatever it was when it came. */
export function cdromXml(s: DomainSpec, c: Cdrom, index: number, host: DomainHost): string {
  const medium = c.imageDigest;
  return el(
    'disk',
    { type: 'file', device: 'cdrom' },
    el('driver', { name: 'qemu', type: medium === undefined ? 'raw' : 'qcow2' }),
    medium === undefined ? undefined : el('source', { file: host.mediumPath(medium) }, noRelabel),
    medium === undefined ? undefined : backing(undefined),
    el('target', { dev: c.target, bus: c.bus }),
    el('readonly', {}),
    bootXml(s, 'cdrom', index),
  );
}

/** libvirt counts places on SCSI by the letter, so many on each controller. */
const DISKS_PER_SCSI = 15;

/** libvirt would add one of a model that hardly any guest knows. */
export function scsiXml(s: DomainSpec): readonly string[] {
  const drives = [
    ...s.disks.filter((d) => d.options?.bus === 'scsi'),
    ...(s.cdroms ?? []).filter((c) => c.bus === 'scsi'),
  ];
  if (drives.length === 0) return [];
  const most = Math.max(...drives.map((d) => Math.floor((d.target.charCodeAt(2) - 97) / DISKS_PER_SCSI)));
  return Array.from({ length: most + 1 }, (_, index) =>
    el('controller', { type: 'scsi', index, model: 'virtio-scsi' }),
  );
}
