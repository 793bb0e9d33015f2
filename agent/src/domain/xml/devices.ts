/** The other devices: ports, channels, controllers, TPM, watchdog, balloon, devices of the host: to XML and back. Pure. */
import { isQ35 } from '@berth/shared/hardware/check-devices.ts';
import type { Hardware } from '@berth/shared/hardware/schema.ts';
import { busOf } from '@berth/shared/hardware/targets.ts';
import type { DomainSpec } from '../spec.ts';
import { hasSpice } from './display.ts';
import type { DomainHost } from './host.ts';
import { oneOf, said } from './said.ts';
import { el, textEl, type Node } from './text.ts';
import { attributeAt, find, findAll, textAt, type XmlElement } from './tree.ts';
import { hostPciXml, pciOf, pciXml } from './units.ts';

/** The first is the console, and kept in a log. */
export const serialXml = ({ serialPorts = 1 }: Hardware, host: DomainHost): readonly string[] => [
  ...Array.from({ length: serialPorts }, (_, port) =>
    el(
      'serial',
      { type: 'pty' },
      port === 0 ? el('log', { file: host.serialLogPath, append: 'on' }) : undefined,
      el('target', { type: 'isa-serial', port }, el('model', { name: 'isa-serial' })),
    ),
  ),
  el('console', { type: 'pty' }, el('target', { type: 'serial', port: 0 })),
];

/** Where the guest agent of the guest, if it has one, and libvirt meet; and the same for SPICE. */
const AGENT = 'org.qemu.guest_agent.0';
const SPICE = 'com.redhat.spice.0';

export const channelsXml = (h: Hardware): readonly Node[] => [
  h.guestAgent === false ? undefined : el('channel', { type: 'unix' }, el('target', { type: 'virtio', name: AGENT })),
  hasSpice(h) ? el('channel', { type: 'spicevmc' }, el('target', { type: 'virtio', name: SPICE })) : undefined,
];

function usesUsb(s: DomainSpec): boolean {
  const h = s.hardware ?? {};
  return (
    h.usbTablet === true ||
    h.sound?.model === 'usb' ||
    (h.hostDevices ?? []).some((d) => 'usb' in d) ||
    s.disks.some((d) => (d.options?.bus ?? busOf(d.target)) === 'usb') ||
    (s.cdroms ?? []).some((c) => c.bus === 'usb')
  );
}

/** What libvirt gives a machine of which nothing is said. */
const ownUsb = (h: Hardware): string => (isQ35({ hardware: h }) ? 'qemu-xhci' : 'piix3-uhci');

export function usbXml(s: DomainSpec): Node {
  const h = s.hardware ?? {};
  const used = usesUsb(s);
  const wanted = h.usbController ?? (used ? 'qemu-xhci' : undefined);
  const model = !used && wanted === ownUsb(h) ? undefined : wanted;
  return model === undefined ? undefined : el('controller', { type: 'usb', index: 0, model });
}

/**
 * A machine of PCI Express takes a device while it runs only at a port that is free, and libvirt leaves just one. As many as
 * virt-install makes; what the machine has from the beginning takes the first ones.
 */
const ROOT_PORTS = 14;

export const rootPortsXml = (h: Hardware): readonly string[] =>
  isQ35({ hardware: h })
    ? Array.from({ length: ROOT_PORTS }, (_, i) =>
        el('controller', { type: 'pci', index: i + 1, model: 'pcie-root-port' }),
      )
    : [];

export const hostDevicesXml = ({ hostDevices = [] }: Hardware): readonly string[] =>
  hostDevices.map((d) =>
    'pci' in d
      ? hostDevice('pci', hostPciXml(d.pci))
      : hostDevice('usb', el('vendor', { id: `0x${d.usb.slice(0, 4)}` }), el('product', { id: `0x${d.usb.slice(5)}` })),
  );

/** libvirt takes it from its driver at the start, and gives it back at the end. */
const hostDevice = (type: string, ...source: readonly Node[]): string =>
  el('hostdev', { mode: 'subsystem', type, managed: 'yes' }, el('source', {}, ...source));

export const rngXml = ({ rng = {} }: Hardware): Node =>
  rng.model === 'none'
    ? undefined
    : el('rng', { model: 'virtio' }, textEl('backend', { model: 'random' }, rng.source ?? '/dev/urandom'));

export const watchdogXml = ({ watchdog: w }: Hardware): Node =>
  w && el('watchdog', { model: w.model, action: w.action ?? 'reset' });

export function balloonXml({ balloon: b = {} }: Hardware): string {
  if (b.model === 'none') return el('memballoon', { model: 'none' });
  const freePageReporting = b.freePageReporting === true ? 'on' : undefined;
  return el('memballoon', { model: 'virtio', freePageReporting }, el('stats', { period: 10 }), pciXml(b.pciAddress));
}

export function tpmXml({ tpm }: Hardware): Node {
  if (tpm === undefined) return undefined;
  const version = tpm.version ?? '2.0';
  return el('tpm', { model: tpm.model ?? 'tpm-crb' }, el('backend', { type: 'emulator', version }));
}

type Others = Pick<
  Hardware,
  'serialPorts' | 'usbController' | 'guestAgent' | 'hostDevices' | 'ioThreads' | 'rng' | 'watchdog' | 'balloon' | 'tpm'
>;

/** @param usesUsb something that was read is on USB @param fixed it is at the address that it was asked to be at */
export function readDevices(
  domain: XmlElement,
  wanted: { readonly usesUsb: boolean },
  fixed: (key: string) => boolean,
): Others | undefined {
  const devices = find(domain, 'devices');
  const ports = findAll(devices, 'serial').length;
  const ioThreads = Number(textAt(domain, 'iothreads'));
  const agent = findAll(devices, 'channel').some((c) => attributeAt(c, 'name', 'target') === AGENT);
  return said({
    serialPorts: ports <= 1 ? undefined : ports,
    usbController: readUsb(domain, wanted.usesUsb),
    guestAgent: agent ? undefined : false,
    hostDevices: readHostDevices(devices),
    ioThreads: ioThreads > 0 ? ioThreads : undefined,
    rng: readRng(find(devices, 'rng')),
    watchdog: readWatchdog(domain),
    balloon: readBalloon(find(devices, 'memballoon'), fixed('balloon')),
    tpm: readTpm(find(devices, 'tpm')),
  });
}

const machineOf = (domain: XmlElement): Hardware => ({ machine: attributeAt(domain, 'machine', 'os', 'type') });

/** Where nothing is said, libvirt gives each machine one of its own. */
function readUsb(domain: XmlElement, used: boolean): Hardware['usbController'] {
  const usb = findAll(find(domain, 'devices'), 'controller').find((c) => c.attributes['type'] === 'usb');
  const model = oneOf(['qemu-xhci', 'nec-xhci', 'ich9-ehci1', 'piix3-uhci', 'none'], usb?.attributes['model']);
  const unsaid = used ? 'qemu-xhci' : ownUsb(machineOf(domain));
  return model === unsaid ? undefined : model;
}

function readHostDevices(devices: XmlElement | undefined): Hardware['hostDevices'] {
  const all = findAll(devices, 'hostdev').flatMap((d) => readHostDevice(d) ?? []);
  return all.length === 0 ? undefined : all;
}

/** Undefined: not of a kind that Berth makes. */
export function readHostDevice(e: XmlElement): NonNullable<Hardware['hostDevices']>[number] | undefined {
  const source = find(e, 'source');
  const { type, mode } = e.attributes;
  if (mode !== 'subsystem') return undefined;
  const id = (name: string): string => (attributeAt(source, 'id', name) ?? '').replace(/^0x/, '').toLowerCase();
  const pci = pciOf(find(source, 'address'));
  if (type === 'pci' && pci !== undefined) return { pci };
  return type === 'usb' && id('vendor') !== '' ? { usb: `${id('vendor')}:${id('product')}` } : undefined;
}

function readRng(e: XmlElement | undefined): Hardware['rng'] {
  if (e === undefined) return { model: 'none' };
  return said({ source: oneOf(['/dev/urandom', '/dev/random'], textAt(e, 'backend'), '/dev/urandom') });
}

/** The one that q35 has anyhow, and that newer libvirts list, counts only when it does something else than usual. */
function readWatchdog(domain: XmlElement): Hardware['watchdog'] {
  const all = findAll(find(domain, 'devices'), 'watchdog').flatMap((w) => {
    const model = oneOf(['itco', 'i6300esb', 'ib700'], w.attributes['model']);
    const action = oneOf(
      ['reset', 'shutdown', 'poweroff', 'pause', 'dump', 'inject-nmi', 'none'],
      w.attributes['action'],
      'reset',
    );
    return model === undefined ? [] : [{ model, ...(action !== undefined && { action }) }];
  });
  return all.find((w) => w.model !== 'itco' || w.action !== undefined);
}

function readBalloon(e: XmlElement | undefined, fixed: boolean): Hardware['balloon'] {
  if (e === undefined || e.attributes['model'] === 'none') return { model: 'none' };
  return said({
    freePageReporting: e.attributes['freePageReporting'] === 'on' ? true : undefined,
    pciAddress: fixed ? pciOf(find(e, 'address')) : undefined,
  });
}

function readTpm(e: XmlElement | undefined): Hardware['tpm'] {
  if (e === undefined || attributeAt(e, 'type', 'backend') !== 'emulator') return undefined;
  const version = oneOf(['2.0', '1.2'], attributeAt(e, 'version', 'backend'), '2.0');
  return said({ version, model: oneOf(['tpm-crb', 'tpm-tis'], e.attributes['model'], 'tpm-crb') }) ?? {};
}
