/** Memory: how much, up to how much, and what holds it: to XML and back. Pure. */
import { mostMemory } from '@berth/shared/hardware/check-cpu.ts';
import type { Hardware } from '@berth/shared/hardware/schema.ts';
import type { DomainSpec } from '../spec.ts';
import { said } from './said.ts';
import { el, textEl, type Node } from './text.ts';
import { find, type XmlElement } from './tree.ts';
import { bytesOf } from './units.ts';

/** What the balloon leaves of the maximum is what it has now. */
export function memoryXml(s: DomainSpec): readonly string[] {
  const most = mostMemory({ memoryBytes: s.memoryBytes, hardware: s.hardware ?? {} });
  return [
    textEl('memory', { unit: 'KiB' }, most / 1024),
    textEl('currentMemory', { unit: 'KiB' }, s.memoryBytes / 1024),
  ];
}

export function memoryBackingXml({ memoryBacking: b = {} }: Hardware): Node {
  const page = b.hugepageBytes;
  const inner = [
    page === undefined ? undefined : el('hugepages', {}, el('page', { size: page / 1024, unit: 'KiB' })),
    b.mergeable === false ? el('nosharepages', {}) : undefined,
    b.locked === true ? el('locked', {}) : undefined,
  ];
  return inner.every((n) => n === undefined) ? undefined : el('memoryBacking', {}, ...inner);
}

export function readMemory(
  domain: XmlElement,
): Pick<Hardware, 'maxMemoryBytes' | 'memoryBacking'> & { readonly memoryBytes: number } {
  const most = bytesOf(find(domain, 'memory'));
  const now = bytesOf(find(domain, 'currentMemory'));
  const memoryBytes = Number.isNaN(now) ? most : now;
  return {
    memoryBytes,
    ...said({ maxMemoryBytes: most === memoryBytes ? undefined : most, memoryBacking: readBacking(domain) }),
  };
}

function readBacking(domain: XmlElement): Hardware['memoryBacking'] {
  const backing = find(domain, 'memoryBacking');
  const { size, unit = 'KiB' } = find(backing, 'hugepages', 'page')?.attributes ?? {};
  const bytes = size === undefined ? undefined : bytesOf({ ...domain, text: size, attributes: { unit } });
  return said({
    hugepageBytes: bytes as NonNullable<Hardware['memoryBacking']>['hugepageBytes'],
    locked: find(backing, 'locked') && true,
    mergeable: find(backing, 'nosharepages') && false,
  });
}
