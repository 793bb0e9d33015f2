/** From files to documents of known kinds: every fault of every document at once, each with its file and line. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { readForm } from '@berth/shared/hardware/form.ts';
import { nearest } from '@berth/shared/units/nearest.ts';
import { faultAt, type Source } from './files.ts';
import { clusterKind } from './cluster-kind.ts';
import { hostKind } from './host-kind.ts';
import { imageKind } from './image-kind.ts';
import type { Kind } from './kind.ts';
import { networkKind } from './network-kind.ts';
import { poolKind } from './pool-kind.ts';
import { userKind } from './user-kind.ts';
import { vmKind } from './vm-kind.ts';
import { volumeKind } from './volume-kind.ts';

/** In the order in which they are applied: VMs come after what they refer to. */
export const KINDS: Readonly<Record<string, Kind>> = {
  user: userKind,
  host: hostKind,
  cluster: clusterKind,
  image: imageKind,
  pool: poolKind,
  network: networkKind,
  volume: volumeKind,
  vm: vmKind,
};

export interface ReadDocument {
  readonly source: Source;
  readonly kind: string;
  readonly name: string;
  readonly value: unknown;
}

export const MOST_FAULTS = 50;

/** @throws INVALID_ARGUMENT, one line per fault */
export function readDocuments(sources: readonly Source[]): readonly ReadDocument[] {
  const faults: string[] = [];
  const read = sources.flatMap((s) => readOne(s, faults));
  const seen = new Map<string, ReadDocument>();
  for (const d of read) {
    const id = `${d.kind} ${d.name}`;
    const first = seen.get(id);
    if (first)
      faults.push(faultAt(d.source, ['name'], `${id} stands at ${first.source.file}:${first.source.line} already`));
    seen.set(id, d);
  }
  if (faults.length > 0) throw invalidArgument(shorten(faults).join('\n'));
  const order = Object.keys(KINDS);
  return [...read].sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
}

export const shorten = (faults: readonly string[]): readonly string[] =>
  faults.length <= MOST_FAULTS ? faults : [...faults.slice(0, MOST_FAULTS), `and ${faults.length - MOST_FAULTS} more`];

function readOne(source: Source, faults: string[]): readonly ReadDocument[] {
  const { kind, name } = (source.value ?? {}) as { kind?: unknown; name?: unknown };
  const known = typeof kind === 'string' && Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
  if (known === undefined) {
    faults.push(faultAt(source, ['kind'], unknownKind(kind)));
    return [];
  }
  const result = readForm(known.schema, source.value);
  faults.push(...result.faults.map((f) => faultAt(source, f.path, `${f.path.join('.')} ${f.why}`)));
  return result.value === undefined ? [] : [{ source, kind: kind as string, name: String(name), value: result.value }];
}

function unknownKind(kind: unknown): string {
  const known = Object.keys(KINDS);
  if (typeof kind !== 'string') return `this is no document of Berth's: it needs a kind, one of ${known.join(', ')}`;
  const near = nearest(kind, known)[0];
  return `kind ${JSON.stringify(kind.slice(0, 40))} cannot be applied: ${near ? `did you mean ${near}?` : `known are ${known.join(', ')}`}`;
}
