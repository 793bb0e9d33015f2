/** The order in which a guest looks for something to boot: numbers on its devices, and back. Pure. */
import type { Hardware } from '@berth/shared/hardware/schema.ts';
import type { DomainSpec } from '../spec.ts';
import { el, type Node } from './text.ts';
import { attributeAt, find, findAll, type XmlElement } from './tree.ts';

type Kind = NonNullable<NonNullable<Hardware['boot']>['order']>[number];

/** Undefined: as when nothing is said, from the first disk. Kinds that the VM has none of don't count. */
export function bootOrder(s: DomainSpec): readonly Kind[] | undefined {
  const has: Record<Kind, boolean> = {
    disk: s.disks.length > 0,
    cdrom: (s.cdroms ?? []).length > 0,
    network: s.nics.length > 0,
  };
  const order = (s.hardware?.boot?.order ?? []).filter((kind) => has[kind]);
  return order.length === 0 || order.join() === 'disk' ? undefined : order;
}

/** The `<boot>` of the device that is the `index`th of its kind: all of a kind, in their order, before the next kind. */
export function bootXml(s: DomainSpec, kind: Kind, index: number): Node {
  const order = bootOrder(s);
  if (order === undefined || !order.includes(kind)) return undefined;
  const counts: Record<Kind, number> = {
    disk: s.disks.length,
    cdrom: (s.cdroms ?? []).length,
    network: s.nics.length,
  };
  const before = order.slice(0, order.indexOf(kind)).reduce((n, k) => n + counts[k], 0);
  return el('boot', { order: before + index + 1 });
}

const WORDS: Readonly<Record<string, Kind>> = { hd: 'disk', cdrom: 'cdrom', network: 'network' };

/** Also of the older form, `<os><boot dev>`, in which people write it. */
export function readBootOrder(domain: XmlElement): readonly Kind[] | undefined {
  const devices = find(domain, 'devices');
  const kindOf = (d: XmlElement): Kind =>
    d.name === 'interface' ? 'network' : d.attributes['device'] === 'cdrom' ? 'cdrom' : 'disk';
  const numbered = [...findAll(devices, 'disk'), ...findAll(devices, 'interface')]
    .map((d) => ({ kind: kindOf(d), order: Number(attributeAt(d, 'order', 'boot')) }))
    .filter((d) => d.order > 0)
    .sort((a, b) => a.order - b.order)
    .map((d) => d.kind);
  const named = findAll(find(domain, 'os'), 'boot').flatMap((b) => WORDS[b.attributes['dev'] ?? ''] ?? []);
  const order = [...new Set(numbered.length > 0 ? numbered : named)];
  return order.length === 0 || order.join() === 'disk' ? undefined : order;
}
