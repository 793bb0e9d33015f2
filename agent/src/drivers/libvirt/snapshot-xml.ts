/** Snapshots as libvirt's XML says them: written to have one made, and read. Pure. */
import { attributeAt, find, findAll, parseXml, printXml, textAt } from '../../domain/xml/tree.ts';
import { el, textEl } from '../../domain/xml/text.ts';
import type { SnapshotSeen, SnapshotWanted } from '../snapshots.ts';

const diskElements = ({ disks, others }: SnapshotWanted): string[] => [
  ...disks.map((name) => el('disk', { name, snapshot: 'internal' })),
  ...others.map((name) => el('disk', { name, snapshot: 'no' })),
];

/** @param memory of a domain that is on */
export const snapshotXml = (w: SnapshotWanted, memory: boolean): string =>
  el(
    'domainsnapshot',
    {},
    textEl('name', {}, w.name),
    textEl('description', {}, w.description),
    el('memory', { snapshot: memory ? 'internal' : 'no' }),
    el('disks', {}, ...diskElements(w)),
  );

/** Of one that is in the disks already: what libvirt notes of it. @param domainXml the definition that it is of */
export const notedXml = (
  w: SnapshotWanted,
  at: { readonly createdAtMs: number; readonly parent: string | undefined; readonly domainXml: string },
): string =>
  el(
    'domainsnapshot',
    {},
    textEl('name', {}, w.name),
    textEl('description', {}, w.description),
    textEl('state', {}, 'shutoff'),
    textEl('creationTime', {}, String(Math.floor(at.createdAtMs / 1000))),
    at.parent === undefined ? undefined : el('parent', {}, textEl('name', {}, at.parent)),
    el('memory', { snapshot: 'no' }),
    el('disks', {}, ...diskElements(w)),
    at.domainXml,
  );

const POWERS: Readonly<Record<string, SnapshotSeen['power']>> = {
  ...{ running: 'running', blocked: 'running', paused: 'paused' },
};

export function readSnapshot(xml: string, current: string | undefined): SnapshotSeen {
  const root = parseXml(xml);
  const name = textAt(root, 'name');
  const disks = findAll(find(root, 'disks'), 'disk');
  const how = (d: (typeof disks)[number]): string => d.attributes['snapshot'] ?? '';
  const memory = attributeAt(root, 'snapshot', 'memory') ?? 'no';
  const domain = find(root, 'domain');
  const parent = textAt(root, 'parent', 'name');
  return {
    name,
    description: textAt(root, 'description'),
    createdAtMs: Number(textAt(root, 'creationTime')) * 1000,
    power: POWERS[textAt(root, 'state')] ?? 'stopped',
    memory: memory === 'internal',
    parent: parent === '' ? undefined : parent,
    current: current === name,
    disks: disks.filter((d) => how(d) === 'internal').map((d) => d.attributes['name'] ?? ''),
    external: memory === 'external' || disks.some((d) => how(d) === 'external'),
    domainXml: domain === undefined ? '' : printXml(domain),
  };
}
