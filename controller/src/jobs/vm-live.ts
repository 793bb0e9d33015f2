/** Of a change to a VM that runs: what its guest can take on at once, and what waits for its next start. Pure. */
import type { ImageId } from '@berth/shared/model/ids.ts';
import type { Vm, VmSpec } from '@berth/shared/model/vm.ts';

export interface LivePlan {
  readonly vcpus?: number;
  readonly memoryBytes?: number;
  readonly media: readonly { readonly target: string; readonly imageId: ImageId | undefined }[];
  readonly links: readonly { readonly mac: string; readonly linkDown: boolean }[];
  /** Targets of disks and MAC addresses of cards that come, and that go. */
  readonly come: readonly string[];
  readonly go: readonly string[];
}

/** The machine, without what only Berth looks at. */
export type MachineSpec = Pick<VmSpec, 'vcpus' | 'memoryBytes' | 'disks' | 'nics' | 'cdroms' | 'hardware'>;

export const sameMachine = (a: VmSpec, b: VmSpec): boolean => text(machineOf(a)) === text(machineOf(b));

const machineOf = ({ vcpus, memoryBytes, disks, nics, cdroms = [], hardware = {} }: VmSpec): MachineSpec => ({
  ...{ vcpus, memoryBytes, disks, nics, cdroms, hardware },
});

/** While a job changes the machine, what only Berth looks at is changed both in what it shall be and in what it may go back to. */
export function withOurs(before: Vm['before'], change: (spec: VmSpec) => VmSpec): Pick<Vm, 'before'> {
  if (before === undefined) return {};
  const { cdroms: _, hardware: __, ...changed } = change(before.spec);
  const { vcpus, memoryBytes, disks, nics, cdroms, hardware } = before.spec;
  const machine = { vcpus, memoryBytes, disks, nics, ...(cdroms && { cdroms }), ...(hardware && { hardware }) };
  return { before: { ...before, spec: { ...changed, ...machine } } };
}

/** The same for the same, in whatever order its fields were written. */
export const text = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) =>
    typeof v === 'object' && v !== null && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  );

/** @param runs what the guest runs with. @param spec what it shall have. */
export function livePlan(runs: VmSpec, spec: VmSpec): LivePlan {
  const h = runs.hardware ?? {};
  const moreVcpus = spec.vcpus > runs.vcpus && spec.vcpus <= (h.maxVcpus ?? runs.vcpus);
  const otherMemory =
    spec.memoryBytes !== runs.memoryBytes && spec.memoryBytes <= (h.maxMemoryBytes ?? runs.memoryBytes);
  const media = (spec.cdroms ?? []).flatMap(({ target, bus, imageId }) => {
    const there = runs.cdroms?.find((c) => c.target === target && c.bus === bus);
    return there && there.imageId !== imageId ? [{ target, imageId }] : [];
  });
  return {
    ...(moreVcpus && { vcpus: spec.vcpus }),
    ...(otherMemory && h.balloon?.model !== 'none' && { memoryBytes: spec.memoryBytes }),
    media,
    links: linksOf(runs, spec),
    come: onlyIn(spec, runs),
    go: onlyIn(runs, spec),
  };
}

/**
 * Disks and cards of one that the other has not at all, as a guest calls them. A disk that goes to another bus stays under its guest
 * until the next start: to a guest that is just using it, it would be torn away.
 */
const onlyIn = (a: VmSpec, b: VmSpec): readonly string[] => [
  ...a.disks.filter((d) => b.disks.every((x) => x.volumeId !== d.volumeId)).map((d) => d.target),
  ...a.nics.filter((n) => b.nics.every((x) => x.mac !== n.mac)).map((n) => n.mac),
];

const linksOf = (runs: VmSpec, spec: VmSpec): LivePlan['links'] =>
  spec.nics.flatMap(({ mac, options }) => {
    const there = runs.nics.find((n) => n.mac === mac);
    const linkDown = options?.linkDown ?? false;
    return there && (there.options?.linkDown ?? false) !== linkDown ? [{ mac, linkDown }] : [];
  });

/** What it runs with when that has been done. Labels and the like need no doing. */
export function afterLive(runs: VmSpec, done: LivePlan, spec: VmSpec): VmSpec {
  const { labels, runPolicy } = spec;
  return {
    ...runs,
    ...{ labels, runPolicy },
    vcpus: done.vcpus ?? runs.vcpus,
    memoryBytes: done.memoryBytes ?? runs.memoryBytes,
    disks: together(runs.disks, spec.disks, (d) => d.target, done),
    nics: together(runs.nics, spec.nics, (n) => n.mac, done).map((n) =>
      inNetwork(relinked(n, done.links.find((l) => l.mac === n.mac)?.linkDown), spec),
    ),
    ...(runs.cdroms && {
      cdroms: runs.cdroms.map((c) => {
        const changed = done.media.find((m) => m.target === c.target);
        return changed ? { ...c, imageId: changed.imageId } : c;
      }),
    }),
  };
}

/** What stays is as it runs, and in the order of the definition. */
function together<T>(runs: readonly T[], spec: readonly T[], key: (t: T) => string, done: LivePlan): readonly T[] {
  const kept = runs.filter((t) => !done.go.includes(key(t)));
  const all = [...kept, ...spec.filter((t) => done.come.includes(key(t)))];
  const order = spec.map(key);
  const at = (t: T): number => (order.includes(key(t)) ? order.indexOf(key(t)) : order.length);
  return all.sort((a, b) => at(a) - at(b));
}

/** What a card is plugged into is its bridge; under which name is a matter of ours. */
function inNetwork(nic: VmSpec['nics'][number], spec: VmSpec): VmSpec['nics'][number] {
  const wanted = spec.nics.find((n) => n.mac === nic.mac);
  if (wanted === undefined || wanted.bridge !== nic.bridge || wanted.networkId === nic.networkId) return nic;
  const { networkId: _, ...rest } = nic;
  return wanted.networkId ? { ...rest, networkId: wanted.networkId } : rest;
}

/** Down is said, up is not: as definitions have it that say no more than they must. */
function relinked(nic: VmSpec['nics'][number], linkDown: boolean | undefined): VmSpec['nics'][number] {
  if (linkDown === undefined) return nic;
  const { options, ...rest } = nic;
  const { linkDown: _, ...others } = options ?? {};
  const now = linkDown ? { ...others, linkDown } : others;
  return Object.keys(now).length === 0 ? rest : { ...rest, options: now };
}
