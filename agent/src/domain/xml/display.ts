/** What people see and hear of a guest, and what they point with: to XML and back. Pure. */
import type { Hardware } from '@berth/shared/hardware/schema.ts';
import { oneOf, said } from './said.ts';
import { el, type Node } from './text.ts';
import { attributeAt, find, findAll, type XmlElement } from './tree.ts';
import { pciOf, pciXml } from './units.ts';

type Graphics = NonNullable<Hardware['graphics']>[number];
type VideoModel = NonNullable<NonNullable<Hardware['video']>['model']>;

const VNC: readonly Graphics[] = [{ type: 'vnc' }];

/** What stands when nothing is said: a VNC server that only root and QEMU's user can reach. */
const wanted = (h: Hardware): readonly Graphics[] =>
  (h.graphics ?? []).length === 0 ? VNC : (h.graphics ?? []).filter((g) => g.type !== 'none');

export const hasSpice = (h: Hardware): boolean => wanted(h).some((g) => g.type === 'spice');

export const graphicsXml = (h: Hardware): readonly string[] => wanted(h).map(oneGraphics);

function oneGraphics({ type, listen, port, password, keymap }: Graphics): string {
  // a socket that only root and QEMU's user can open: the way to it leads through the controller
  if (listen === undefined) return el('graphics', { type, keymap, passwd: password }, el('listen', { type: 'socket' }));
  const where = port === undefined ? { port: -1, autoport: 'yes' } : { port, autoport: 'no' };
  return el(
    'graphics',
    { type, ...where, keymap, passwd: password },
    el('listen', { type: 'address', address: listen }),
  );
}

/** What libvirt gives a model whose memory is not said. Those without have none of their own. */
const USUAL_VRAM_KIB: Readonly<Partial<Record<VideoModel, number>>> = {
  ...{ vga: 16_384, cirrus: 16_384, vmvga: 16_384, bochs: 16_384, qxl: 65_536 },
};

/** Every guest can draw on vga without a driver. */
export function videoXml({ video }: Hardware): string {
  const { model = 'vga', vramBytes, heads, pciAddress } = video ?? {};
  if (model === 'none') return el('video', {}, el('model', { type: 'none' }));
  const usual = USUAL_VRAM_KIB[model];
  const vram = usual === undefined ? undefined : vramBytes === undefined ? usual : vramBytes / 1024;
  return el('video', {}, el('model', { type: model, vram, heads: heads ?? 1, primary: 'yes' }), pciXml(pciAddress));
}

export function soundXml({ sound }: Hardware): Node {
  return sound && el('sound', { model: sound.model }, pciXml(sound.pciAddress));
}

/** The mouse on PS/2, and the keyboard, come with the screen. */
export const inputXml = ({ usbTablet }: Hardware): Node =>
  usbTablet === true ? el('input', { type: 'tablet', bus: 'usb' }) : undefined;

type Display = Pick<Hardware, 'graphics' | 'video' | 'sound' | 'usbTablet'>;

/** @param fixed it is at the address that it was asked to be at */
export function readDisplay(domain: XmlElement, fixed: (key: string) => boolean): Display | undefined {
  const devices = find(domain, 'devices');
  const tablets = findAll(devices, 'input').filter((i) => i.attributes['type'] === 'tablet');
  return said({
    graphics: readGraphics(devices),
    video: readVideo(find(devices, 'video'), fixed('video')),
    sound: readSound(find(devices, 'sound'), fixed('sound')),
    usbTablet: tablets.some((t) => t.attributes['bus'] === 'usb') ? true : undefined,
  });
}

function readGraphics(devices: XmlElement | undefined): Hardware['graphics'] {
  const all = findAll(devices, 'graphics').flatMap((g): Graphics[] => {
    const type = oneOf(['vnc', 'spice'], g.attributes['type']);
    return type === undefined ? [] : [{ type, ...readListening(g) }];
  });
  if (all.length === 0) return [{ type: 'none' }];
  return all.length === 1 && all[0]?.type === 'vnc' && Object.keys(all[0]).length === 1 ? undefined : all;
}

function readListening(g: XmlElement): Omit<Graphics, 'type'> {
  const { port, autoport, passwd, keymap } = g.attributes;
  const listen = attributeAt(g, 'type', 'listen') === 'address' ? attributeAt(g, 'address', 'listen') : undefined;
  return {
    ...said({
      listen,
      port: listen !== undefined && autoport !== 'yes' && port !== undefined ? Number(port) : undefined,
      password: passwd,
      keymap,
    }),
  };
}

function readVideo(e: XmlElement | undefined, fixed: boolean): Hardware['video'] {
  const { type, vram, heads } = find(e, 'model')?.attributes ?? {};
  const model = oneOf(['vga', 'virtio', 'qxl', 'cirrus', 'bochs', 'vmvga', 'ramfb', 'none'], type) ?? 'none';
  const usual = USUAL_VRAM_KIB[model];
  const own = vram !== undefined && usual !== undefined && Number(vram) !== usual;
  return said({
    model: model === 'vga' ? undefined : model,
    vramBytes: own ? Number(vram) * 1024 : undefined,
    heads: heads === undefined || heads === '1' || model === 'none' ? undefined : Number(heads),
    pciAddress: fixed ? pciOf(find(e, 'address')) : undefined,
  });
}

function readSound(e: XmlElement | undefined, fixed: boolean): Hardware['sound'] {
  const model = oneOf(['ich6', 'ich9', 'ac97', 'es1370', 'sb16', 'usb'], e?.attributes['model']);
  const pciAddress = fixed ? pciOf(find(e, 'address')) : undefined;
  return model && { model, ...(pciAddress !== undefined && { pciAddress }) };
}
