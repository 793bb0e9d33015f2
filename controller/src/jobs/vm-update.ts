/**
 * Job vm.update: makes a VM what its row says since the job was started: room, images, new disks, the domain as it is stored,
 * and of a guest that runs what it can take on at once. What it cannot, or will not, waits for its next start and is kept in
 * the row. The row has what to go back to (`before`); no definition stands in the job's log, for there are passwords in it.
 */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, VmId } from '@berth/shared/model/ids.ts';
import type { Vm, VmSpec } from '@berth/shared/model/vm.ts';
import type { LiveChange, OperationView } from '../hosts/agent-client.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait, type RemoteContext, type StepContext } from './engine/define.ts';
import { imagesStep } from './images-needed.ts';
import { imagesOnHost, poolCopies } from './pool-image.ts';
import { domainRef, getVm, volumeWanted } from './making.ts';
import { insist, settle } from './operate.ts';
import { noCapacity } from './refused.ts';
import { afterLive, livePlan, sameMachine, type LivePlan } from './vm-live.ts';
import { hostOfVm } from './vm-start.ts';
import { claimOf, whyNotChanged } from './world.ts';
import { domainWanted } from './wanted.ts';

export interface UpdateParams {
  readonly vmId: VmId;
  readonly forceEject?: boolean;
}

interface Found {
  readonly place: { readonly hostId: HostId; readonly host: string; readonly on: boolean };
}
type Context = StepContext<UpdateParams, Found, JobDeps>;
type Remote = RemoteContext<UpdateParams, Found, JobDeps>;

/** QEMU answers in milliseconds, or never; a host that was away for a moment is waited for. */
const LIVE_MS = 180_000;

/** What it was before this job; what it is when that is gone already. */
const beforeOf = (vm: Vm): NonNullable<Vm['before']> => vm.before ?? vm;
/** What its guest runs with. */
const runsWith = (vm: Vm): VmSpec => beforeOf(vm).live ?? beforeOf(vm).spec;
const agentOf = (c: Context): ReturnType<JobDeps['hosts']['agent']> => c.deps.hosts.agent(c.outs.place.hostId);

export function isOn(c: Pick<Context, 'deps'>, vm: Vm): boolean {
  const power = c.deps.hosts.vm(vm.id)?.power;
  return power === undefined || power === 'unknown'
    ? vm.desiredPower === 'on'
    : power !== 'stopped' && power !== 'crashed';
}

/** As much as it runs with, or as it shall have: whichever is more. */
export function claimFor(vm: Vm, hostId: HostId, powered: boolean): ReturnType<typeof claimOf> {
  const { spec, live } = vm;
  const most = {
    ...spec,
    vcpus: Math.max(spec.vcpus, live?.vcpus ?? 0),
    memoryBytes: Math.max(spec.memoryBytes, live?.memoryBytes ?? 0),
  };
  return claimOf({ ...vm, spec: most }, hostId, powered);
}

/** Disks that this change adds. */
function newDisks(vm: Vm): VmSpec['disks'] {
  const had = new Set(beforeOf(vm).spec.disks.map((d) => d.volumeId));
  return vm.before === undefined ? [] : vm.spec.disks.filter((d) => !had.has(d.volumeId));
}

async function makeDisks(c: Remote): Promise<{ readonly disks: number } | Wait> {
  const added = newDisks(getVm(c.tables, c.params.vmId));
  for (const d of added) {
    const wanted = volumeWanted(c.tables, c.params.vmId, d);
    const op = await settle(c, agentOf(c).ensureVolume(`${c.opId}.${d.target}`, wanted), `making disk ${d.target}`);
    if (Wait.is(op)) return op;
  }
  return { disks: added.length };
}

async function removeDisks(c: Remote): Promise<void | Wait> {
  for (const { volumeId } of newDisks(getVm(c.tables, c.params.vmId))) {
    const remove = (id: string) => agentOf(c).removeVolume(id, volumeId);
    const op = await insist(c, `${c.undoOpId}.${volumeId}`, remove, 'removing a volume');
    if (Wait.is(op)) return op;
  }
}

/** Of what was planned, what the guest has taken on; of the rest, why not. */
interface Live {
  readonly done: LivePlan;
  readonly refused: readonly string[];
}

const NOTHING: LivePlan = { media: [], links: [], come: [], go: [] };

interface Step {
  readonly name: string;
  /** Or a device that comes or goes. */
  readonly change: LiveChange | { readonly come: string } | { readonly go: string };
  readonly done: Partial<LivePlan>;
}

function stepsOf(c: Context, plan: LivePlan, force: boolean): readonly Step[] {
  const digest = (id: Parameters<typeof c.tables.images.get>[0] | undefined) => id && c.tables.images.get(id)?.digest;
  const { vcpus, memoryBytes, media, links, come, go } = plan;
  const devices = canAttach(c);
  return [
    ...(memoryBytes === undefined ? [] : [{ name: 'memory', change: { memoryBytes }, done: { memoryBytes } }]),
    ...media.map((m) => ({
      name: m.target,
      change: { target: m.target, imageDigest: digest(m.imageId), force },
      done: { media: [m] },
    })),
    ...links.map((l, i) => ({ name: `link${i}`, change: l, done: { links: [l] } })),
    ...(devices ? go : []).map((d) => ({ name: `go.${plain(d)}`, change: { go: d }, done: { go: [d] } })),
    ...(devices ? come : []).map((d) => ({ name: `come.${plain(d)}`, change: { come: d }, done: { come: [d] } })),
    ...(vcpus === undefined ? [] : [{ name: 'vcpus', change: { vcpus }, done: { vcpus } }]),
  ];
}

const together = (a: LivePlan, b: Partial<LivePlan>): LivePlan => ({
  ...a,
  ...b,
  media: [...a.media, ...(b.media ?? [])],
  links: [...a.links, ...(b.links ?? [])],
  come: [...a.come, ...(b.come ?? [])],
  go: [...a.go, ...(b.go ?? [])],
});

/** What the guest itself refuses is no failure: its next start brings it. */
async function makeLive(c: Remote): Promise<Live | Wait> {
  const vm = getVm(c.tables, c.params.vmId);
  if (!c.outs.place.on || !canLive(c)) return { done: NOTHING, refused: [] };
  const steps = stepsOf(c, livePlan(runsWith(vm), vm.spec), c.params.forceEject === true);
  const ended = (c.notes.get('live') as Map<string, string> | undefined) ?? new Map<string, string>();
  c.notes.set('live', ended); // of several, none is asked again for the sake of the next
  for (const s of steps.filter((x) => !ended.has(x.name))) {
    const why = await changed(c, s, `${c.opId}.${s.name}`);
    if (Wait.is(why)) return why;
    ended.set(s.name, why);
  }
  const done = steps.filter((s) => ended.get(s.name) === '').reduce((all, s) => together(all, s.done), NOTHING);
  return { done, refused: [...ended.values()].filter((why) => why !== '') };
}

/** Empty when the guest has taken it on; else why it has not. */
async function changed(c: Remote, { change }: Step, opId: string): Promise<string | Wait> {
  try {
    const op = await settle(c, ask(c, change, opId, getVm(c.tables, c.params.vmId)), 'changing the guest');
    return Wait.is(op) ? op : '';
  } catch (e) {
    if (!isClusterError(e, ...REFUSED)) throw e;
    return e.message;
  }
}

/** @param vm what it shall be: what comes is in its spec. */
function ask(c: Remote, change: Step['change'], opId: string, vm: Vm): Promise<OperationView> {
  const agent = agentOf(c);
  if ('come' in change) return agent.volumeData.attachDevice(opId, domainWanted(c.tables, vm), change.come);
  if ('go' in change) return agent.volumeData.detachDevice(opId, domainRef(vm), change.go);
  return agent.changeLive(opId, domainRef(vm), change);
}

/** An operation id takes no colons. */
const plain = (device: string): string => device.replaceAll(':', '');

const REFUSED = ['BAD_STATE', 'UNSUPPORTED', 'INVALID_ARGUMENT', 'NOT_FOUND'] as const;

const can = (c: Context, name: string): boolean =>
  c.deps.hosts.status(c.outs.place.hostId).facts?.capabilities.includes(name) ?? false;
const canLive = (c: Context): boolean => can(c, 'domain.live');
const canAttach = (c: Context): boolean => can(c, 'domain.devices');

/** Puts back what may have been changed. A guest that refuses that too keeps it until it is off. */
async function unmakeLive(c: Remote): Promise<void | Wait> {
  const vm = getVm(c.tables, c.params.vmId);
  if (!c.outs.place.on || !canLive(c)) return;
  const then = afterLive(runsWith(vm), livePlan(runsWith(vm), vm.spec), vm.spec);
  const { vcpus: _, ...back } = livePlan(then, runsWith(vm));
  const fewer = { ...back, ...(then.vcpus > runsWith(vm).vcpus && { vcpus: runsWith(vm).vcpus }) };
  for (const s of stepsOf(c, fewer, true)) {
    const back = (id: string) => ask(c, s.change, id, { ...vm, ...vm.before });
    try {
      const op = await insist(c, `${c.undoOpId}.${s.name}`, back, 'changing the guest back');
      if (Wait.is(op)) return op;
    } catch (e) {
      if (!isClusterError(e, ...REFUSED)) throw e;
    }
  }
}

/** What the row goes back to. */
function wasBefore(vm: Vm): Vm {
  const { before, live: _, ...rest } = vm;
  return before === undefined ? vm : { ...rest, ...before };
}

export const vmUpdate = defineJob<UpdateParams, JobDeps>('vm.update', 1)
  // the row was put when the job was started; unwinding takes it back, last of all
  .local('begin', {
    run({ tables, params }) {
      getVm(tables, params.vmId);
      return null;
    },
    undo({ tx, tables, params }) {
      const vm = wasBefore(getVm(tables, params.vmId));
      const held = tables.claims.get(vm.id);
      tx.vms.put(vm);
      if (held) tx.claims.put(claimFor(vm, held.hostId, held.powered));
    },
  })
  .local('place', {
    run(c) {
      const vm = getVm(c.tables, c.params.vmId);
      const hostId = hostOfVm(vm);
      const refused = whyNotChanged(c.deps.world, beforeOf(vm).spec, vm, hostId);
      if (refused) throw noCapacity(vm, [refused]);
      const on = isOn(c, vm);
      c.tx.claims.put(claimFor({ ...vm, live: runsWith(vm) }, hostId, c.tables.claims.get(vm.id)?.powered ?? on));
      return { hostId, host: c.tables.hosts.get(hostId)?.name ?? hostId, on };
    },
    describe: (out) => out.host,
  })
  .local('image', imagesStep(imagesOnHost, poolCopies))
  .remote('volume', {
    host: (c) => c.outs.place.hostId,
    operations: (c) => newDisks(getVm(c.tables, c.params.vmId)).map((d) => `${c.opId}.${d.target}`),
    run: makeDisks,
    undo: removeDisks,
    debts: (c) =>
      newDisks(getVm(c.tables, c.params.vmId)).map((d) => ({
        ...{ kind: 'volume', target: d.volumeId, vmId: c.params.vmId },
        why: `changing vm ${getVm(c.tables, c.params.vmId).name} was undone`,
      })),
    describe: (out) => (out.disks === 0 ? 'none to make' : `${out.disks} made`),
  })
  .remote('define', {
    host: (c) => c.outs.place.hostId,
    async run(c) {
      const wanted = domainWanted(c.tables, getVm(c.tables, c.params.vmId));
      const op = await settle(c, agentOf(c).ensureDomain(c.opId, wanted), 'defining');
      return Wait.is(op) ? op : null;
    },
    async undo(c) {
      const vm = getVm(c.tables, c.params.vmId);
      const was = domainWanted(c.tables, { ...vm, ...vm.before });
      const op = await insist(c, c.undoOpId, (id) => agentOf(c).ensureDomain(id, was), 'defining it as it was');
      return Wait.is(op) ? op : undefined;
    },
    // a start defines it anew
    debts: () => [],
  })
  .remote('live', {
    host: (c) => c.outs.place.hostId,
    deadlineMs: LIVE_MS,
    operations(c) {
      const vm = getVm(c.tables, c.params.vmId);
      return stepsOf(c, livePlan(runsWith(vm), vm.spec), false).map((s) => `${c.opId}.${s.name}`);
    },
    run: makeLive,
    undo: unmakeLive,
    debts: () => [],
    describe: (out) => out.refused.join('; '),
  })
  .local('record', {
    run({ tx, tables, params, outs, jobId }) {
      const { before: _, live: __, ...vm } = getVm(tables, params.vmId);
      const { hostId, on, host } = outs.place;
      const runs = afterLive(runsWith(getVm(tables, params.vmId)), outs.live.done, vm.spec);
      const after: Vm = on && !sameMachine(runs, vm.spec) ? { ...vm, live: runs } : vm;
      tx.vms.put(after);
      tx.claims.put(claimFor(after, hostId, tables.claims.get(vm.id)?.powered ?? on));
      const rest = after.live ? '; some of it at its next start' : '';
      const message = `vm ${vm.name} changed on ${host}${rest}`;
      tx.event({ type: 'vm.updated', severity: 'info', subjectKind: 'vm', subject: vm.name, message, jobId });
      return null;
    },
  })
  .build();
