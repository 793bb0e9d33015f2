/** Checks the checker: a sound job passes, and each planted bug is found. */
import { expect, test } from 'vitest';
import {
  defineJob,
  wait,
  type EngineDeps,
  type LocalStep,
  type RemoteStep,
} from '@berth/controller/jobs/engine/define.ts';
import { joinJob, leaveJoined, type Joined } from '@berth/controller/jobs/engine/start.ts';
import { aHost, aVm } from '@berth/controller/state/samples.ts';
import type { HostId, VmId } from '@berth/shared/model/ids.ts';
import { checkJob, type Adversary, type JobWorld } from './job-harness.ts';

interface Params {
  readonly vmId: VmId;
}

/** Hosts that keep a ledger of operations, with tombstones, and domains by VM. */
class Fakes implements EngineDeps {
  readonly domains = new Map<string, string>();
  readonly images = new Set<string>();
  readonly #ledger = new Map<string, 'done' | 'cancelled'>();
  tombstones = true;
  memory = 0;
  /** Lost with each life of the controller. */
  life: { hostId?: HostId } = {};

  constructor(
    readonly hostIds: readonly HostId[],
    readonly adversary: Adversary,
  ) {}

  async act(opId: string, fn: () => void): Promise<void> {
    if (this.#ledger.get(opId) === 'cancelled') throw new Error(`${opId} was cancelled`);
    if (this.#ledger.get(opId) !== 'done') fn();
    this.#ledger.set(opId, 'done');
  }
  async cancelOperation(_host: HostId, opId: string): Promise<void> {
    if (this.tombstones && !this.#ledger.has(opId)) this.#ledger.set(opId, 'cancelled');
  }
}

type Place = LocalStep<Params, object, Fakes, { hostId: HostId }>;
type Boot = RemoteStep<Params, { place: { hostId: HostId } }, Fakes, { booted: boolean }>;

const place: Place = {
  run({ tx, deps, params }) {
    const hostId = deps.hostIds[deps.adversary.pick(2)]!;
    tx.claims.put({ vmId: params.vmId, hostId, vcpus: 1, memoryBytes: 1, diskBytes: 1, powered: true });
    return { hostId };
  },
  undo: ({ tx, params }) => tx.claims.delete(params.vmId),
};

const boot: Boot = {
  host: (c) => c.outs.place.hostId,
  async run({ deps, opId, outs, params, attempt }) {
    await deps.act(opId, () => deps.domains.set(params.vmId, outs.place.hostId));
    return attempt < 2 ? wait(100, 'boots') : { booted: true };
  },
  async undo({ deps, undoOpId, params }) {
    await deps.act(undoOpId, () => deps.domains.delete(params.vmId));
  },
  debts: () => [],
};

const record: LocalStep<Params, { place: { hostId: HostId } }, Fakes, void> = {
  run: ({ tx, params, outs }) => tx.vms.put({ ...tx.vms.get(params.vmId)!, hostId: outs.place.hostId }),
  undo: ({ tx, params }) => tx.vms.put({ ...tx.vms.get(params.vmId)!, hostId: undefined }),
};

const vmStart = (o: { place?: Partial<Place>; boot?: Partial<Boot> } = {}) =>
  defineJob<Params, Fakes>('vm.start', 1)
    .local('place', { ...place, ...o.place })
    .remote('boot', { ...boot, ...o.boot })
    .local('record', record)
    .pointOfNoReturn()
    .remote('tell', { run: ({ deps, opId }) => deps.act(opId, () => {}) })
    .build();

function world(tombstones = true) {
  return (adversary: Adversary): JobWorld<Params, Fakes> => {
    const hosts = ['h1', 'h2'].map((name) => aHost({ name, address: `${name}:7444`, labels: {} }));
    const vm = aVm({ name: 'web' });
    const fakes = new Fakes(
      hosts.map((h) => h.id),
      adversary,
    );
    fakes.tombstones = tombstones;
    return {
      seed: (tx) => (hosts.forEach((h) => tx.hosts.put(h)), tx.vms.put(vm)),
      params: { vmId: vm.id },
      start: { locks: [`vm/${vm.id}:exclusive`] },
      deps: () => ((fakes.life = {}), fakes),
      hosts: () => ({ domains: fakes.domains, images: fakes.images, memory: fakes.memory }),
      defs: [fetchImage],
    };
  };
}

const fetchImage = defineJob<{ image: string }, Fakes>('image.fetch', 1)
  .remote('fetch', {
    async run({ deps, opId, params, attempt }) {
      await deps.act(opId, () => deps.images.add(params.image));
      return attempt < 4 ? wait(1000, 'copies') : null;
    },
    async undo({ deps, params, opId }) {
      await deps.cancelOperation('host-1' as HostId, opId);
      deps.images.delete(params.image);
    },
  })
  .build();

const fetchStep: LocalStep<Params, object, Fakes, Joined> = {
  run: (c) => joinJob(c, fetchImage, { image: 'base' }, { subject: 'base', user: 'u', key: 'image.fetch/base' }),
  undo: (c) => leaveJoined(c),
};
const clone = (fetch: LocalStep<Params, object, Fakes, Joined>) =>
  defineJob<Params, Fakes>('vm.clone', 1).local('fetch', fetch).local('place', place).remote('boot', boot).build();

test('a sound job passes', async () => {
  const { steps, runs } = await checkJob(vmStart(), world());
  expect(steps).toBe(4);
  expect(runs).toBeGreaterThan(80);
});

const planted: readonly [string, RegExp, () => Promise<unknown>][] = [
  ['an undo that was forgotten', /stays behind/, () => checkJob(vmStart({ boot: { undo: async () => {} } }), world())],
  ['a claim that is never released', /stays behind/, () => checkJob(vmStart({ place: { undo: () => {} } }), world())],
  [
    'a call under a new operation id at each try',
    /not as it should be/,
    () =>
      checkJob(
        vmStart({
          boot: {
            async run({ deps, opId, attempt, params, outs }) {
              await deps.act(`${opId}.${attempt}`, () =>
                deps.domains.set(`${params.vmId}${attempt}`, outs.place.hostId),
              );
              return { booted: true };
            },
          },
        }),
        world(),
      ),
  ],
  [
    'an undo that fails when nothing had happened',
    /stuck/,
    () =>
      checkJob(
        vmStart({
          boot: {
            async undo({ deps, params }) {
              if (!deps.domains.delete(params.vmId)) throw new Error('no such domain');
            },
          },
        }),
        world(),
      ),
  ],
  [
    'an undo that needs the output of a step that failed',
    /stuck/,
    () =>
      checkJob(
        vmStart({
          boot: {
            async undo({ deps, params }, out) {
              if (out!.booted) deps.domains.delete(params.vmId);
            },
          },
        }),
        world(),
      ),
  ],
  [
    'a local step that writes outside its transaction',
    /not as it should be|stays behind/,
    () =>
      checkJob(
        vmStart({
          place: {
            run(c) {
              c.deps.memory++;
              return place.run(c);
            },
          },
        }),
        world(),
      ),
  ],
  ['an agent without tombstones', /late arrival of boot/, () => checkJob(vmStart(), world(false))],
  [
    'an undo that forgets to look at the outcome of a placement made twice',
    /not as it should be|stays behind/,
    () =>
      checkJob(
        vmStart({
          boot: {
            async run({ deps, params }) {
              deps.domains.set(params.vmId, deps.hostIds[deps.adversary.pick(2)]!);
              return { booted: true };
            },
          },
        }),
        world(),
      ),
  ],
  [
    'a step that relies on what only the memory knows',
    /crash/,
    () =>
      checkJob(
        vmStart({
          place: {
            run(c) {
              const out = place.run(c);
              if (!('hostId' in out)) return out;
              c.deps.life.hostId = out.hostId;
              return out;
            },
          },
          boot: {
            async run({ deps, opId, params }) {
              await deps.act(opId, () => deps.domains.set(params.vmId, deps.life.hostId ?? 'nowhere'));
              return { booted: true };
            },
          },
        }),
        world(),
      ),
  ],
];

test.each(planted)('%s is found', async (_name, message, check) => {
  await expect(check()).rejects.toThrow(message);
});

test('a job that joins another passes', async () => {
  const fetchStays = (adversary: Adversary) => {
    const w = world()(adversary);
    return { ...w, hosts: () => ({ domains: (w.hosts() as { domains: unknown }).domains }) };
  };
  await checkJob(clone(fetchStep), fetchStays);
});
