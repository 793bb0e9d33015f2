/** What people may do with VMs that are there: checks, writes intent, starts jobs. Talks to no host; the jobs do. How one is made is vm-making.ts's. */
import { badState, ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { whyNot, type VmAction } from '@berth/shared/model/actions.ts';
import type { HostId, JobId } from '@berth/shared/model/ids.ts';
import { MOST_CHORDS, parseChord } from '@berth/shared/keys/keys.ts';
import type { Vm, VmSpec, VmState } from '@berth/shared/model/vm.ts';
import { needCapability } from '../hosts/capabilities.ts';
import { checkMode, checkThen } from '../jobs/ask-guest.ts';
import type { JobDef } from '../jobs/engine/define.ts';
import { noCapacity } from '../jobs/refused.ts';
import { vmCustomize } from '../jobs/vm-customize.ts';
import { vmDelete } from '../jobs/vm-delete.ts';
import { withOurs } from '../jobs/vm-live.ts';
import { vmReset, vmResume, vmSuspend } from '../jobs/vm-power.ts';
import { REBOOT_THEN, vmReboot } from '../jobs/vm-reboot.ts';
import { vmSave } from '../jobs/vm-save.ts';
import { STOP_THEN, vmStop } from '../jobs/vm-stop.ts';
import { vmStart, type StartParams, type VmParams } from '../jobs/vm-start.ts';
import type { Tx } from '../state/state.ts';
import { relabel, type LabelChange, type Labels } from './labels.ts';
import { resolve } from './names.ts';
import { pageByName, type Page, type PageQuery } from './pages.ts';
import { poke, type Poke } from './poke.ts';
import { checkCustomize, customizeParams, type CustomizeVm } from './vm-identity.ts';
import type { VmAnswer, VmDeps } from './vm-deps.ts';
import { given } from './given.ts';
import { viewVm, type VmView } from './vm-view.ts';

export interface StartVm {
  readonly discardSaved?: boolean | undefined;
  /** disk, cdrom, network; empty: as its definition says. */
  readonly bootOnce?: string | undefined;
}

export interface StopVm {
  readonly force: boolean;
  /** 0: 60 s. */
  readonly timeoutMs: number;
  readonly thenForce: boolean;
  /** acpi, agent; otherwise: the agent where one answers, then the button. */
  readonly mode?: string | undefined;
  /** fail, force, save. */
  readonly then?: string | undefined;
}

export interface RebootVm {
  readonly mode?: string | undefined;
  /** 0: 2 min. */
  readonly timeoutMs: number;
  /** fail, reset. */
  readonly then?: string | undefined;
}

const DEFAULT_STOP_MS = 60_000;
const DEFAULT_REBOOT_MS = 120_000;
const LONGEST_STOP_MS = 24 * 3_600_000;

/** What goes straight to the host, and the capability that it takes. */
const DIRECT = {
  console: 'console',
  log: 'serial-log',
  resume: 'console.resume',
  vnc: 'display',
  spice: 'display',
  screenshot: 'domain.screenshot',
  nmi: 'domain.input',
  sendKeys: 'domain.input',
  guest: 'guest.agent',
} as const;

function checkTimeout(ms: number): number {
  if (!(ms > 0 && ms <= LONGEST_STOP_MS)) throw invalidArgument('a timeout is at most 24 h');
  return ms;
}

export class Vms {
  constructor(private readonly deps: VmDeps) {}

  /** A VM that runs or starts is left as it is. */
  start(nameOrId: string, user: string, how: StartVm = {}): Promise<VmAnswer> {
    return this.#act(nameOrId, 'start', (tx, view) => {
      const bootOnce = checkBootOnce(how.bootOnce, view);
      if (view.state === 'running' || view.state === 'starting') return view.jobId;
      this.#checkRoom(view.vm);
      const discardSaved = how.discardSaved === true && view.state === 'saved';
      const params = { vmId: view.vm.id, ...(discardSaved && { discardSaved }), ...(bootOnce && { bootOnce }) };
      return this.#startJob(tx, vmStart, params, view.vm, user);
    });
  }

  async stop(nameOrId: string, how: StopVm, user: string): Promise<VmAnswer> {
    const timeoutMs = checkTimeout(how.timeoutMs || DEFAULT_STOP_MS);
    const [mode, then] = [checkMode(how.mode), checkThen(how.then, STOP_THEN)];
    if (how.thenForce && then !== undefined && then !== 'force')
      throw invalidArgument(`then_force and then ${then} contradict`);
    return this.#act(nameOrId, how.force ? 'forceStop' : 'stop', (tx, view) => {
      if (view.state === 'stopped' || view.state === 'crashed') return noteStopped(tx, view);
      if (view.state === 'stopping' && !how.force) return view.jobId;
      if (then === 'save') this.#need(view, 'domain.save');
      if (mode === 'agent') this.#need(view, 'guest.agent');
      const params = {
        vmId: view.vm.id,
        force: how.force,
        timeoutMs,
        thenForce: how.thenForce,
        ...given({ mode, then }),
      };
      return this.#startJob(tx, vmStop, params, view.vm, user);
    });
  }

  async reboot(nameOrId: string, how: RebootVm, user: string): Promise<VmAnswer> {
    const timeoutMs = checkTimeout(how.timeoutMs || DEFAULT_REBOOT_MS);
    const [mode, then] = [checkMode(how.mode), checkThen(how.then, REBOOT_THEN)];
    return this.#act(nameOrId, 'reboot', (tx, view) => {
      this.#need(view, mode === 'agent' ? 'guest.agent' : 'domain.power');
      const params = { vmId: view.vm.id, timeoutMs, ...given({ mode, then }) };
      return this.#startJob(tx, vmReboot, params, view.vm, user);
    });
  }

  reset(nameOrId: string, user: string): Promise<VmAnswer> {
    return this.#power(nameOrId, 'reset', vmReset, undefined, user);
  }

  /** A VM that is suspended is left as it is. */
  suspend(nameOrId: string, user: string): Promise<VmAnswer> {
    return this.#power(nameOrId, 'suspend', vmSuspend, 'paused', user);
  }

  /** A VM that runs is left as it is. */
  resume(nameOrId: string, user: string): Promise<VmAnswer> {
    return this.#power(nameOrId, 'resume', vmResume, 'running', user);
  }

  /** A VM that is saved is left as it is. */
  save(nameOrId: string, user: string): Promise<VmAnswer> {
    return this.#act(nameOrId, 'save', (tx, view) => {
      if (view.state === 'saved') return view.jobId;
      this.#need(view, 'domain.save');
      return this.#startJob(tx, vmSave, { vmId: view.vm.id }, view.vm, user);
    });
  }

  /** BAD_STATE unless it runs. */
  injectNmi(nameOrId: string): Promise<VmView> {
    const ask: Poke['ask'] = (agent, id, domain) => agent.injectNmi(id, domain);
    return this.#poke(nameOrId, { name: 'nmi', words: 'got an NMI', ask });
  }

  /** @param keys `enter`, `ctrl-alt-delete`: as keys.ts names them. They are written down nowhere: they may be a password. */
  async sendKeys(nameOrId: string, keys: readonly string[]): Promise<VmView> {
    if (keys.length === 0 || keys.length > MOST_CHORDS)
      throw invalidArgument(`1 to ${MOST_CHORDS} keys can be sent at once, not ${keys.length}`);
    const chords = keys.map(parseChord);
    const ask: Poke['ask'] = (agent, id, domain) => agent.sendKeys(id, { ...domain, chords });
    return this.#poke(nameOrId, { name: 'sendKeys', words: 'got keys', ask });
  }

  /** BAD_STATE unless it is stopped. */
  async customize(nameOrId: string, wanted: CustomizeVm, user: string): Promise<VmAnswer> {
    const asked = checkCustomize(wanted);
    return this.#act(nameOrId, 'customize', (tx, view) => {
      this.#need(view, 'volume.customize');
      return this.#startJob(tx, vmCustomize, customizeParams(tx, view.vm, asked), view.vm, user);
    });
  }

  delete(nameOrId: string, how: { readonly force: boolean }, user: string): Promise<VmAnswer> {
    return this.#act(nameOrId, how.force ? 'forceDelete' : 'delete', (tx, view) =>
      this.#startJob(tx, vmDelete, { vmId: view.vm.id, force: how.force }, view.vm, user),
    );
  }

  async get(nameOrId: string): Promise<VmView> {
    const view = this.#view(resolve('vm', this.deps.state.tables.vms, nameOrId));
    await this.deps.state.settled();
    return view;
  }

  /** @param query.host name or id; empty: all. @param keep only these. */
  async list(query: PageQuery & { readonly host: string }, keep?: (vm: Vm) => boolean): Promise<Page<VmView>> {
    const { tables } = this.deps.state;
    const hostId = query.host === '' ? undefined : resolve('host', tables.hosts, query.host).id;
    const page = pageByName(
      tables.vms,
      query,
      (vm) => (hostId === undefined || vm.hostId === hostId) && (keep?.(vm) ?? true),
    );
    const items = page.items.map((vm) => this.#view(vm));
    await this.deps.state.settled();
    return { ...page, items };
  }

  /** @param may throws unless the caller may have a VM with these labels. */
  async label(nameOrId: string, change: LabelChange, may: (labels: Labels) => void): Promise<VmView> {
    const { state } = this.deps;
    const vm = await state.update((tx) => {
      const before = resolve('vm', tx.vms, nameOrId);
      const relabelled = (spec: VmSpec): VmSpec => ({ ...spec, labels: relabel('a vm', spec.labels, change) });
      const spec = relabelled(before.spec);
      may(spec.labels);
      const after = { ...before, ...withOurs(before.before, relabelled), spec, generation: before.generation + 1 };
      tx.vms.put(after);
      return after;
    });
    return this.#view(state.tables.vms.get(vm.id) ?? vm);
  }

  /** For what goes straight to its host: its capability is looked for, and all but the serial log need a guest that is on. */
  locate(nameOrId: string, use: keyof typeof DIRECT): { readonly vm: Vm; readonly hostId: HostId } {
    const view = this.#view(resolve('vm', this.deps.state.tables.vms, nameOrId));
    if (use !== 'log' && use !== 'resume') refuse(use === 'vnc' || use === 'spice' ? 'display' : use, view);
    const { hostId } = view.vm;
    if (hostId === undefined) throw badState(`vm ${view.vm.name} is on no host yet`);
    const { facts } = this.deps.hosts.status(hostId);
    needCapability({ name: view.hostName }, facts, DIRECT[use]);
    return { vm: view.vm, hostId };
  }

  #checkRoom(vm: Vm): void {
    if (vm.hostId === undefined) return;
    const refused = this.deps.world.whyNotThere(vm, vm.hostId);
    if (refused) throw noCapacity(vm, [refused]);
  }

  async #act(
    nameOrId: string,
    action: VmAction,
    begin: (tx: Tx, view: VmView) => JobId | undefined,
  ): Promise<VmAnswer> {
    const { state } = this.deps;
    const { id, jobId } = await state.update((tx) => {
      const view = this.#view(resolve('vm', state.tables.vms, nameOrId));
      refuse(action, view);
      return { id: view.vm.id, jobId: begin(tx, view) };
    });
    return { view: this.#view(resolve('vm', state.tables.vms, id)), jobId };
  }

  /** @param done the state in which there is nothing to do. */
  #power(
    nameOrId: string,
    action: VmAction,
    def: JobDef<VmParams, never>,
    done: VmState | undefined,
    user: string,
  ): Promise<VmAnswer> {
    return this.#act(nameOrId, action, (tx, view) => {
      if (view.state === done) return view.jobId;
      this.#need(view, 'domain.power');
      return this.#startJob(tx, def, { vmId: view.vm.id }, view.vm, user);
    });
  }

  async #poke(nameOrId: string, p: Poke): Promise<VmView> {
    const found = this.locate(nameOrId, p.name);
    await poke(this.deps, found, p);
    return this.#view(this.deps.state.tables.vms.get(found.vm.id) ?? found.vm);
  }

  #need(
    { vm: { hostId }, hostName }: VmView,
    name: 'domain.power' | 'domain.save' | 'guest.agent' | 'volume.customize',
  ): void {
    if (hostId) needCapability({ name: hostName }, this.deps.hosts.status(hostId).facts, name);
  }

  #startJob<P>(tx: Tx, def: JobDef<P, never>, params: P, vm: Vm, user: string): JobId {
    return this.deps.jobs.start(tx, def, params, { subject: vm.name, locks: [`vm/${vm.id}:exclusive`], user });
  }

  #view(vm: Vm): VmView {
    const { state, hosts, clock } = this.deps;
    return viewVm(vm, { tables: state.tables, hosts, nowMs: clock.now() });
  }
}

function checkBootOnce(wanted: string | undefined, { vm, state, hostName }: VmView): StartParams['bootOnce'] {
  if (wanted === undefined || wanted === '') return undefined;
  const known = (['disk', 'cdrom', 'network'] as const).find((d) => d === wanted);
  if (known === undefined)
    throw invalidArgument(`${JSON.stringify(wanted.slice(0, 40))} is nothing to boot from: disk, cdrom or network`);
  if (state === 'running' || state === 'starting' || state === 'saved')
    throw badState(
      `vm ${vm.name} is ${state} on ${hostName}: what it boots from is chosen when it starts. Stop it first`,
    );
  const parts = { disk: vm.spec.disks, cdrom: vm.spec.cdroms ?? [], network: vm.spec.nics };
  if (parts[known].length === 0) throw badState(`vm ${vm.name} has no ${known} to boot from`);
  return known;
}

/** A guest that has powered itself off: the stop that is asked for now only notes it. */
function noteStopped(tx: Tx, { vm }: VmView): undefined {
  const claim = tx.claims.get(vm.id);
  if (claim?.powered) tx.claims.put({ ...claim, powered: false });
  if (vm.desiredPower === 'on') tx.vms.put({ ...vm, desiredPower: 'off' });
}

function refuse(action: VmAction, view: VmView): void {
  const why = whyNot(action, { name: view.vm.name, state: view.state, host: view.hostName || undefined });
  if (why === undefined) return;
  const making = view.jobId && (view.state === 'creating' || view.state === 'deleting');
  // Nothing else can be done with a VM whose host does not answer; a delete has a way, which `why` tells.
  if (view.state === 'unknown' && action !== 'delete') throw new ClusterError('HOST_UNREACHABLE', why);
  if (!making) throw badState(why);
  const words = `vm ${view.vm.name} is being ${view.state === 'creating' ? 'made' : 'deleted'}: job ${view.jobId} works on it. Wait for it (berth job watch ${view.jobId})`;
  const cancel = view.state === 'creating' ? `, or cancel it: berth job cancel ${view.jobId}` : '';
  throw new ClusterError('RESOURCE_BUSY', `${words}${cancel}`, { jobId: view.jobId });
}
