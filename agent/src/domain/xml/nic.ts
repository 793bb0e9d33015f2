/** Network cards: to XML and back. Pure. */
import type { NicOptions } from '@berth/shared/hardware/schema.ts';
import type { DomainSpec } from '../spec.ts';
import { bootXml } from './boot.ts';
import { said } from './said.ts';
import { el, type Node } from './text.ts';
import { attributeAt, find, type XmlElement } from './tree.ts';
import { pciOf, pciXml } from './units.ts';

type Nic = DomainSpec['nics'][number];

export function nicXml(s: DomainSpec, n: Nic, index: number): string {
  const o = n.options ?? {};
  return el(
    'interface',
    { type: 'bridge' },
    el('mac', { address: n.mac }),
    el('source', { bridge: n.bridge }),
    el('model', { type: n.model }),
    o.queues === undefined || o.queues === 1 ? undefined : el('driver', { queues: o.queues }),
    bandwidth(o),
    o.linkDown === true ? el('link', { state: 'down' }) : undefined,
    o.mtu === undefined ? undefined : el('mtu', { size: o.mtu }),
    bootXml(s, 'network', index),
    pciXml(o.pciAddress),
  );
}

/** libvirt counts in 1000 bytes per second, and bursts in KiB. */
const RATE = 1000;
const BURST = 1024;

function bandwidth(o: NicOptions): Node {
  const way = (name: string, q: NicOptions['inbound']): Node =>
    q &&
    el(name, {
      average: Math.ceil(q.averageBytesPerSecond / RATE),
      peak: q.peakBytesPerSecond && Math.ceil(q.peakBytesPerSecond / RATE),
      burst: q.burstBytes && Math.ceil(q.burstBytes / BURST),
    });
  const ways = [way('inbound', o.inbound), way('outbound', o.outbound)];
  return ways.every((w) => w === undefined) ? undefined : el('bandwidth', {}, ...ways);
}

/** Undefined: not of a kind that Berth makes. @param fixed it is at the address that it was asked to be at */
export function readNic(e: XmlElement, fixed: (key: string) => boolean): Nic | undefined {
  const mac = (attributeAt(e, 'address', 'mac') ?? '').toLowerCase();
  const bridge = attributeAt(e, 'bridge', 'source');
  if (e.attributes['type'] !== 'bridge' || bridge === undefined || mac === '') return undefined;
  const model = attributeAt(e, 'type', 'model') ?? '';
  const options = readOptions(e, fixed(mac));
  return { mac, bridge, model, ...(options && { options }) };
}

function readOptions(e: XmlElement, fixed: boolean): NicOptions | undefined {
  const number = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text));
  const queues = number(attributeAt(e, 'queues', 'driver'));
  return said({
    inbound: readQos(find(e, 'bandwidth', 'inbound')),
    outbound: readQos(find(e, 'bandwidth', 'outbound')),
    linkDown: attributeAt(e, 'state', 'link') === 'down' ? true : undefined,
    mtu: number(attributeAt(e, 'size', 'mtu')),
    queues: queues === 1 ? undefined : queues,
    pciAddress: fixed ? pciOf(find(e, 'address')) : undefined,
  });
}

function readQos(e: XmlElement | undefined): NicOptions['inbound'] {
  const { average, peak, burst } = e?.attributes ?? {};
  if (average === undefined) return undefined;
  return {
    averageBytesPerSecond: Number(average) * RATE,
    ...said({
      peakBytesPerSecond: peak === undefined ? undefined : Number(peak) * RATE,
      burstBytes: burst === undefined ? undefined : Number(burst) * BURST,
    }),
  };
}
