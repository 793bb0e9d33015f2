/**
 * Domain XML from a spec. Pure; every value is escaped. Kept in golden files. What a host can do (domain type, direct I/O)
 * and where its files lie comes in `host`.
 */
import { createHash } from 'node:crypto';
import { metadataXml } from './metadata.ts';
import { specHash, type DomainSpec } from './spec.ts';
import { el, textEl } from './xml/text.ts';

export interface DomainHost {
  readonly domainType: 'kvm' | 'qemu';
  readonly emulatorPath: string;
  /** The pool takes O_DIRECT. */
  readonly directIo: boolean;
  readonly serialLogPath: string;
  volumePath(volumeId: string, seed: boolean): string;
  /** File of the image that a volume is an overlay of. */
  imagePath(volumeId: string): string | undefined;
}

export function domainXml(s: DomainSpec, host: DomainHost): string {
  const mark = {
    vmId: s.vmId,
    specHash: specHash(s),
    generation: s.generation,
    definitionHash: definitionHash(s, host),
  };
  return definition(s, host, metadataXml(mark));
}

/** Equal as long as this spec becomes the same definition on this host. */
export const definitionHash = (s: DomainSpec, host: DomainHost): string =>
  createHash('sha256')
    .update(definition(s, host, ''))
    .digest('hex')
    .slice(0, 32);

function definition(s: DomainSpec, host: DomainHost, metadata: string): string {
  return (
    el(
      'domain',
      { type: host.domainType },
      textEl('name', {}, s.name),
      textEl('uuid', {}, s.uuid),
      el('metadata', {}, metadata),
      textEl('memory', { unit: 'KiB' }, s.memoryBytes / 1024),
      textEl('currentMemory', { unit: 'KiB' }, s.memoryBytes / 1024),
      textEl('vcpu', { placement: 'static' }, s.vcpus),
      el('os', {}, textEl('type', { arch: 'x86_64', machine: 'q35' }, 'hvm'), el('boot', { dev: 'hd' })),
      el('features', {}, el('acpi', {}), el('apic', {})),
      cpu(host),
      el('clock', { offset: 'utc' }, ...timers(host)),
      textEl('on_poweroff', {}, 'destroy'),
      textEl('on_reboot', {}, 'restart'),
      textEl('on_crash', {}, 'destroy'),
      devices(s, host),
    ) + '\n'
  );
}

/** Emulation has one CPU of its own; host-model would ask it for features that it can't emulate. */
const cpu = (host: DomainHost): string | undefined =>
  host.domainType === 'kvm' ? el('cpu', { mode: 'host-model', check: 'partial' }) : undefined;

/** A guest that was held up catches up its clock; the HPET costs CPU and nobody needs it. */
const timers = (host: DomainHost): string[] => [
  el('timer', { name: 'rtc', tickpolicy: 'catchup' }),
  ...(host.domainType === 'kvm' ? [el('timer', { name: 'pit', tickpolicy: 'delay' })] : []),
  el('timer', { name: 'hpet', present: 'no' }),
];

function devices(s: DomainSpec, host: DomainHost): string {
  return el(
    'devices',
    {},
    textEl('emulator', {}, host.emulatorPath),
    ...s.disks.map((d) => disk(d, host)),
    s.seedVolumeId === undefined ? undefined : seed(s.seedVolumeId, host),
    ...s.nics.map(nic),
    el(
      'serial',
      { type: 'pty' },
      el('log', { file: host.serialLogPath, append: 'on' }),
      el('target', { type: 'isa-serial', port: 0 }, el('model', { name: 'isa-serial' })),
    ),
    el('console', { type: 'pty' }, el('target', { type: 'serial', port: 0 })),
    // where the guest agent of the guest, if it has one, and libvirt meet
    el('channel', { type: 'unix' }, el('target', { type: 'virtio', name: 'org.qemu.guest_agent.0' })),
    // a socket that only root and QEMU's user can open: the way to it leads through the controller
    el('graphics', { type: 'vnc' }, el('listen', { type: 'socket' })),
    // every guest can draw on it without a driver
    el('video', {}, el('model', { type: 'vga', vram: 16384, heads: 1, primary: 'yes' })),
    el('rng', { model: 'virtio' }, textEl('backend', { model: 'random' }, '/dev/urandom')),
    el('memballoon', { model: 'virtio' }, el('stats', { period: 10 })),
  );
}

/**
 * `none` bypasses the host's page cache: no double caching, memory stays for guests, and a live migration sees the same
 * bytes on both sides. A file system without O_DIRECT (tmpfs) refuses it; `writeback` is as safe there, since the guest's
 * flushes reach the disk either way.
 */
const disk = (d: DomainSpec['disks'][number], host: DomainHost): string =>
  el(
    'disk',
    { type: 'file', device: 'disk' },
    el('driver', { name: 'qemu', type: 'qcow2', cache: host.directIo ? 'none' : 'writeback', discard: 'unmap' }),
    el('source', { file: host.volumePath(d.volumeId, false) }),
    backing(host.imagePath(d.volumeId)),
    el('target', { dev: d.target, bus: 'virtio' }),
    textEl('serial', {}, d.volumeId.slice(-20)),
  );

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
        el('source', { file: imagePath }, el('seclabel', { model: 'dac', relabel: 'no' })),
        el('backingStore', {}),
      );

/**
 * A virtio disk, not a SATA CD-ROM: kernels made for clouds have no AHCI driver, and whatever boots from virtio finds it.
 * cloud-init goes by the label. Last in order, so that adding a disk doesn't rename it.
 */
const seed = (volumeId: string, host: DomainHost): string =>
  el(
    'disk',
    { type: 'file', device: 'disk' },
    el('driver', { name: 'qemu', type: 'raw' }),
    el('source', { file: host.volumePath(volumeId, true) }),
    backing(undefined),
    el('target', { dev: 'vdz', bus: 'virtio' }),
    el('readonly', {}),
  );

const nic = (n: DomainSpec['nics'][number]): string =>
  el(
    'interface',
    { type: 'bridge' },
    el('mac', { address: n.mac }),
    el('source', { bridge: n.bridge }),
    el('model', { type: n.model }),
  );
