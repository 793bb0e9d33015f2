/** What must fit together about firmware and devices. Pure. */
import type { Fault, Machine } from './machine.ts';
import { busOf, prefixOf, TARGET } from './targets.ts';

const Q35 = /^(q35|pc-q35-)/;
export const isQ35 = (m: Pick<Machine, 'hardware'>): boolean => Q35.test(m.hardware.machine ?? 'q35');

export function deviceFaults(m: Machine): Fault[] {
  return [
    ...firmware(m),
    ...clock(m),
    ...boot(m),
    ...drives(m),
    ...disks(m),
    ...nics(m),
    ...displays(m),
    ...videos(m),
    ...addressed(m),
    ...others(m),
  ];
}

function* firmware(m: Machine): Iterable<Fault> {
  const { firmware: f } = m.hardware;
  if (f?.secureBoot === true && f.type !== 'uefi') yield ['firmware.secureBoot', 'needs firmware type uefi'];
  if (f?.secureBoot === true && !isQ35(m)) yield ['firmware.secureBoot', 'needs machine q35'];
  if (m.hardware.lifecycle?.onPoweroff === 'restart' && m.hardware.lifecycle.onReboot === 'destroy')
    yield ['lifecycle', 'cannot have onPoweroff restart with onReboot destroy: libvirt has no such domains'];
  if (m.hardware.tpm?.version === '1.2' && m.hardware.tpm.model !== 'tpm-tis')
    yield ['tpm.model', 'must be tpm-tis for version 1.2'];
}

function* clock(m: Machine): Iterable<Fault> {
  const { clock: c } = m.hardware;
  if (c?.offset === 'timezone' && c.timezone === undefined)
    yield ['clock.timezone', 'is missing: offset timezone needs one'];
  if (c?.timezone !== undefined && c.offset !== 'timezone') yield ['clock.timezone', 'is only for offset timezone'];
}

function* boot(m: Machine): Iterable<Fault> {
  const order = m.hardware.boot?.order ?? [];
  if (new Set(order).size !== order.length) yield ['boot.order', 'names a device twice'];
  if (order.includes('cdrom') && m.cdroms.length === 0)
    yield ['boot.order', 'names cdrom, but the VM has no CD-ROM drive'];
  if (order.includes('network') && m.nics.length === 0)
    yield ['boot.order', 'names network, but the VM has no network card'];
}

/** Of disks and CD-ROM drives alike. */
function* drives(m: Machine): Iterable<Fault> {
  const all = [
    ...m.disks.map((d, i) => ({ at: `disks.${i}`, target: d.target, bus: d.options?.bus ?? busOf(d.target) })),
    ...m.cdroms.map((c, i) => ({ at: `cdroms.${i}`, target: c.target, bus: c.bus })),
  ];
  for (const { at, target, bus } of all) {
    if (!TARGET.test(target) || !target.startsWith(prefixOf(bus)))
      yield [`${at}.target`, `${target} is not on bus ${bus}`];
    if (all.find((d) => d.target === target)?.at !== at) yield [`${at}.target`, `${target} is given twice`];
    if (bus === 'ide' && isQ35(m))
      yield [`${at}.bus`, 'ide needs machine pc: q35 has no IDE controller; sata is the same to most guests'];
    if (bus === 'usb' && m.hardware.usbController === 'none')
      yield [`${at}.bus`, 'needs USB, but usbController is none'];
  }
}

function* disks(m: Machine): Iterable<Fault> {
  for (const [i, { target, options: o = {} }] of m.disks.entries()) {
    const at = `disks.${i}.`;
    const bus = o.bus ?? busOf(target);
    if (o.io === 'native' && o.cache !== undefined && o.cache !== 'none' && o.cache !== 'directsync')
      yield [`${at}io`, `native needs cache none or directsync, not ${o.cache}`];
    if (o.ioThread !== undefined && o.ioThread > (m.hardware.ioThreads ?? 0))
      yield [`${at}ioThread`, `${o.ioThread} is not there: ioThreads is ${m.hardware.ioThreads ?? 0}`];
    if (o.ioThread !== undefined && bus !== 'virtio') yield [`${at}ioThread`, 'is only for bus virtio'];
    if (['BytesPerSecond', 'OperationsPerSecond'].some((kind) => limitedTwice(o.qos ?? {}, kind)))
      yield [`${at}qos`, 'has a limit in total and one of reading or writing; choose'];
  }
}

const limitedTwice = (qos: Readonly<Record<string, number | undefined>>, kind: string): boolean =>
  qos[`total${kind}`] !== undefined && (qos[`read${kind}`] ?? qos[`write${kind}`]) !== undefined;

function* nics(m: Machine): Iterable<Fault> {
  for (const [i, { model, options: o = {} }] of m.nics.entries()) {
    if (o.queues !== undefined && o.queues > 1 && model !== 'virtio') yield [`nics.${i}.queues`, 'needs model virtio'];
    for (const way of ['inbound', 'outbound'] as const) {
      const q = o[way];
      if (q?.peakBytesPerSecond !== undefined && q.peakBytesPerSecond < q.averageBytesPerSecond)
        yield [`nics.${i}.${way}.peakBytesPerSecond`, 'must be at least the average'];
    }
  }
}

function* displays(m: Machine): Iterable<Fault> {
  const list = m.hardware.graphics ?? [];
  const types = list.map((g) => g.type);
  if (types.includes('none') && types.length > 1) yield ['graphics', 'has none beside others'];
  if (new Set(types).size !== types.length) yield ['graphics', 'has two of a type'];
  for (const [i, g] of list.entries()) {
    if (g.port !== undefined && g.listen === undefined)
      yield [`graphics.${i}.port`, 'needs listen: on a UNIX socket there are no ports'];
    if (g.type === 'vnc' && (g.password ?? '').length > 8)
      yield [`graphics.${i}.password`, 'is longer than the 8 characters that VNC looks at'];
    if (g.type !== 'vnc' && g.keymap !== undefined) yield [`graphics.${i}.keymap`, 'is only for vnc'];
    if (g.type === 'none' && Object.keys(g).length > 1) yield [`graphics.${i}`, 'of type none has nothing else'];
  }
}

const WITHOUT_VRAM: ReadonlySet<string> = new Set(['virtio', 'ramfb', 'none']);
const WITH_HEADS: ReadonlySet<string> = new Set(['virtio', 'qxl']);
const OFF_PCI: ReadonlySet<string> = new Set(['sb16', 'usb']);

function* videos({ hardware: { video = {} } }: Machine): Iterable<Fault> {
  const { model = 'vga', vramBytes, heads = 1, pciAddress } = video;
  if (vramBytes !== undefined && WITHOUT_VRAM.has(model))
    yield ['video.vramBytes', `is not for ${model}, which has no memory of its own`];
  if (heads > 1 && !WITH_HEADS.has(model))
    yield ['video.heads', `must be 1 for ${model}: virtio and qxl can have more`];
  if (pciAddress !== undefined && (model === 'none' || model === 'ramfb'))
    yield ['video.pciAddress', `is not for ${model}, which is not on PCI`];
}

function* addressed({ hardware: { sound, balloon }, disks: all }: Machine): Iterable<Fault> {
  if (sound?.pciAddress !== undefined && OFF_PCI.has(sound.model))
    yield ['sound.pciAddress', `is not for ${sound.model}, which is not on PCI`];
  if (balloon?.pciAddress !== undefined && balloon.model === 'none') yield ['balloon.pciAddress', 'is of no balloon'];
  for (const [i, d] of all.entries())
    if (d.options?.pciAddress !== undefined && (d.options.bus ?? busOf(d.target)) !== 'virtio')
      yield [`disks.${i}.pciAddress`, 'is only for bus virtio: the others hang on a controller'];
}

function* others(m: Machine): Iterable<Fault> {
  const { hardware: h } = m;
  if (h.usbController === 'none' && h.usbTablet === true) yield ['usbTablet', 'needs USB, but usbController is none'];
  if (h.usbController === 'none' && h.sound?.model === 'usb')
    yield ['sound.model', 'needs USB, but usbController is none'];
  if (h.watchdog?.model === 'itco' && !isQ35(m)) yield ['watchdog.model', 'itco needs machine q35'];
  const devices = (h.hostDevices ?? []).map((d) => JSON.stringify(d));
  if (new Set(devices).size !== devices.length) yield ['hostDevices', 'names a device twice'];
}
