/** What is other in one spec than in another, field by field and as people write it. Pure; passwords are compared, not told. */
import { definitionSchema, type VmDefinition } from '@berth/shared/hardware/definition.ts';
import { writeForm } from '@berth/shared/hardware/form.ts';
import type { ImageId, NetworkId, PoolId } from '@berth/shared/model/ids.ts';
import type { Vm, VmSpec } from '@berth/shared/model/vm.ts';
import { afterLive, livePlan } from '../jobs/vm-live.ts';

export interface VmChange {
  /** `memory`, `disks.vda.cache` */
  readonly field: string;
  /** Empty: nothing is said. */
  readonly before: string;
  readonly after: string;
}

type NameOf = (id: ImageId | PoolId | NetworkId | undefined) => string;

/** The definition that a spec came from, with everything that it came to. Its passwords are in it. */
export function definitionOf(spec: VmSpec, nameOf: NameOf): VmDefinition {
  const { vcpus, memoryBytes, runPolicy, osVariant } = spec;
  const image = (id: ImageId | undefined): { image?: string } => (id === undefined ? {} : { image: nameOf(id) });
  return {
    ...{ vcpus, memoryBytes, runPolicy },
    ...(osVariant !== undefined && { osVariant }),
    disks: spec.disks.map((d) => ({
      ...{ target: d.target, sizeBytes: d.sizeBytes },
      ...(d.poolId && { pool: nameOf(d.poolId) }),
      ...image(d.imageId),
      ...d.options,
    })),
    cdroms: (spec.cdroms ?? []).map((c) => ({ target: c.target, bus: c.bus, ...image(c.imageId) })),
    nics: spec.nics.map(({ mac, bridge, networkId, model, options }) => ({
      ...{ mac, bridge, ...(networkId && { network: nameOf(networkId) }) },
      ...{ model: model as 'virtio', ...options },
    })),
    ...spec.hardware,
  };
}

export function changesBetween(before: VmSpec, after: VmSpec, nameOf: NameOf): readonly VmChange[] {
  const [a, b] = [before, after].map((s) => fieldsOf(s, nameOf)) as [Fields, Fields];
  const fields = [...new Set([...a.keys(), ...b.keys()])];
  const order = (f: string): number => ORDER.indexOf(f.split('.')[0] ?? '');
  return fields
    .filter((f) => a.get(f) !== b.get(f))
    .sort((x, y) => order(x) - order(y))
    .map((field) => ({ field, before: shown(field, a.get(field)), after: shown(field, b.get(field)) }));
}

/** What a VM that is on runs without until its next start. */
export function pendingOf({ live, spec }: Pick<Vm, 'live' | 'spec'>, nameOf: NameOf): readonly VmChange[] {
  return live === undefined ? [] : changesBetween(live, spec, nameOf).filter((c) => !BERTHS.test(c.field));
}

/** Of the fields that change, those that wait for the next start of a VM that is on. */
export function waiting(runs: VmSpec, spec: VmSpec, nameOf: NameOf): ReadonlySet<string> {
  const then = afterLive(runs, livePlan(runs, spec), spec);
  return new Set(pendingOf({ live: then, spec }, nameOf).map((c) => c.field));
}

/** Looked at by Berth alone: they hold at once. */
const BERTHS = /^(labels\.|runPolicy$|osVariant$)/;
const ORDER = ['labels', ...Object.keys(definitionSchema.shape).map((k) => k.replace(/Bytes$/, ''))];

type Fields = ReadonlyMap<string, string>;

function fieldsOf(spec: VmSpec, nameOf: NameOf): Fields {
  const fields = new Map(Object.entries(spec.labels).map(([k, v]) => [`labels.${k}`, v] as const));
  flatten(writeForm(definitionOf(spec, nameOf)), '', fields);
  return fields;
}

function flatten(value: unknown, path: string, into: Map<string, string>): void {
  const under = (key: string): string => (path === '' ? key : `${path}.${key}`);
  if (Array.isArray(value) && value.some((v) => typeof v === 'object'))
    for (const [i, v] of value.entries()) flatten(v, under(nameIn(v, i)), into);
  else if (Array.isArray(value)) into.set(path, value.join(', '));
  else if (typeof value === 'object' && value !== null)
    for (const [k, v] of Object.entries(value)) flatten(v, under(k), into);
  else if (value !== undefined) into.set(path, String(value));
}

/** Parts of a list are told apart by what they are called, where they are called something. */
function nameIn(v: unknown, i: number): string {
  const { target, mac, type } = v as { target?: string; mac?: string; type?: string };
  return target ?? mac ?? type ?? String(i);
}

const shown = (field: string, value: string | undefined): string =>
  value !== undefined && field.endsWith('.password') ? '(secret)' : (value ?? '');
