/** What people and fate do to a simulated cluster: one thing at a time, chosen by the seed. Answers are not looked at. */
import { Readable } from 'node:stream';
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import { Crash } from '@berth/controller/state/memory-engine.ts';
import { StateFailed } from '@berth/controller/state/store.ts';
import type { Life, SimCluster } from './sim-cluster.ts';

const GIB = 2 ** 30;
const NAMES = 14;

type Act = (sim: SimCluster, life: Life) => Promise<unknown>;

const pick = <T>(sim: SimCluster, all: readonly T[]): T | undefined => all[Math.floor(sim.random() * all.length)];
const vmName = (sim: SimCluster): string => `vm${Math.floor(sim.random() * NAMES)}`;
const imageName = (sim: SimCluster): string => `image${Math.floor(sim.random() * 3)}`;

const NEW = { vcpus: 0, diskSizeBytes: 0, host: '', bridge: '', mac: '', labels: {}, dryRun: false } as const;
const PLAIN = { address: '', gateway: '', dns: [], sshKeys: [], userData: '' } as const;

const clone: Act = (sim, { making }) =>
  making.clone({ ...NEW, ...PLAIN, name: vmName(sim), image: imageName(sim), memoryBytes: 3 * GIB }, 'sim');
const create: Act = (sim, { making }) => making.create({ ...NEW, name: vmName(sim), memoryBytes: 2 * GIB }, 'sim');
const start: Act = (sim, { vms }) => vms.start(vmName(sim), 'sim');
const stop: Act = (sim, { vms }) =>
  vms.stop(vmName(sim), { force: sim.random() < 0.3, timeoutMs: 5_000, thenForce: sim.random() < 0.5 }, 'sim');
const power: Act = (sim, { vms }) => {
  const verb = pick(sim, ['reboot', 'reset', 'suspend', 'resume', 'save'] as const) ?? 'resume';
  const name = vmName(sim);
  if (verb !== 'reboot') return vms[verb](name, 'sim');
  return vms.reboot(name, { timeoutMs: 5_000, then: sim.random() < 0.5 ? 'reset' : 'fail' }, 'sim');
};
const remove: Act = (sim, { vms }) => vms.delete(vmName(sim), { force: sim.random() < 0.5 }, 'sim');
const removeImage: Act = (sim, { images }) => images.delete(imageName(sim), 'sim');

async function importImage(sim: SimCluster, { images }: Life): Promise<void> {
  // few contents, so that two names often share one; and some files that are none
  const text = sim.random() < 0.1 ? 'text' : `disk${Math.floor(sim.random() * 2)}`;
  const request = { name: imageName(sim), fileBytes: text.length, allocatedBytes: text.length, format: '', host: '' };
  const made = await images.import(request, 'sim');
  const fate = sim.random();
  if (fate < 0.1) return;
  const data = fate < 0.2 ? text.slice(1) : text;
  const about = { imageId: made.view.image.id, ticket: made.uploadTicket, user: 'sim' };
  await images.upload(about, Readable.from([Buffer.from(data)]));
}

const cancel: Act = async (sim, { state, jobs }) => {
  const job = pick(sim, state.tables.jobs.open());
  if (job) await jobs.cancel(job.id);
};

const cut: Act = async (sim) => {
  const host = pick(sim, sim.hosts.all());
  if (!host?.up) return;
  sim.hosts.cut(host.id as HostId);
  sim.clock.after(sim.random() * 120_000, () => {
    if (sim.random() < 0.5) host.reboot();
    host.up = true;
    void sim.reconnect(host.id as HostId);
  });
};

const spoil: Act = async (sim) => {
  const host = pick(sim, sim.hosts.all());
  if (!host) return;
  host.lossPercent = sim.random() < 0.5 ? 0 : 20;
  host.deaf = sim.random() < 0.3;
  host.diskFull = sim.random() < 0.1;
  host.servesGarbage = sim.random() < 0.2;
};

/** With how often each is chosen. */
const ACTS: readonly (readonly [number, Act])[] = [
  [20, clone],
  [3, create],
  [15, start],
  [8, stop],
  [6, power],
  [10, remove],
  [8, importImage],
  [2, removeImage],
  [4, cancel],
  [4, cut],
  [5, spoil],
];

/** Does something, and does not wait for it. A refusal is an answer; a dead controller gives none. */
export function actOnce(sim: SimCluster): void {
  const { life } = sim;
  if (!life) return;
  let n = sim.random() * ACTS.reduce((sum, [weight]) => sum + weight, 0);
  const act = ACTS.find(([weight]) => (n -= weight) < 0)?.[1] ?? clone;
  act(sim, life).catch((e: unknown) => {
    if (!isClusterError(e) && !(e instanceof StateFailed) && !(e instanceof Crash)) sim.faults.push(e);
  });
}

/** All is well again: hosts are up, answer, and guests obey. */
export function mend(sim: SimCluster): void {
  for (const host of sim.hosts.all()) {
    Object.assign(host, { up: true, lossPercent: 0, deaf: false, diskFull: false, servesGarbage: false });
    void sim.reconnect(host.id as HostId);
  }
}
