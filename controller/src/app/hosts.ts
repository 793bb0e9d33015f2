/** What people may do with hosts: add, invite, look, move, drain, resume, remove. Talks to no host. */
import { alreadyExists, badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Severity } from '@berth/shared/model/event.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { Job } from '@berth/shared/model/job.ts';
import { newId } from '@berth/shared/model/ids.ts';
import { checkLabels } from '@berth/shared/labels/labels.ts';
import { newSecret } from '@berth/shared/runtime/random.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { encodeJoinLine } from '@berth/shared/trust/lines.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Policy } from '../scheduler/world.ts';
import type { State, Tx } from '../state/state.ts';
import type { Identity } from '../trust/identity.ts';
import { revokeAllOf } from '../trust/register.ts';
import { parseHostAddress } from './address.ts';
import { viewHost, type HostDetails } from './host-view.ts';
import { relabel, type LabelChange, type Labels } from './labels.ts';
import { checkName, resolve } from './names.ts';
import { pageByName, type Page, type PageQuery } from './pages.ts';
import { hashSecret } from './secrets.ts';

export interface HostsAppDeps {
  readonly state: State;
  readonly hosts: Hosts;
  readonly clock: Clock;
  readonly policy: Policy;
  readonly trust: Pick<Identity, 'caPin'>;
  /** host:port under which agents reach this controller. */
  readonly advertised: () => string;
}

export interface Invitation {
  /** The whole token as one line. A secret. */
  readonly line: string;
  readonly expiresAtMs: number;
}

const JOIN_TOKEN_MS = 3_600_000;

export class HostsApp {
  constructor(private readonly deps: HostsAppDeps) {}

  async create(
    r: { name: string; address: string; labels: Readonly<Record<string, string>> },
    user: string,
  ): Promise<{ readonly details: HostDetails; readonly invitation: Invitation }> {
    const { state } = this.deps;
    const name = checkName('host', r.name);
    const address = parseHostAddress(r.address);
    const labels = checkLabels('a host', r.labels);
    const made = await state.update((tx) => {
      if (tx.hosts.byName(name))
        throw alreadyExists(`host ${name} exists already. For a new join token: berth host token ${name}`);
      refuseTaken(tx, address);
      const host = newHost(tx, name, address, labels);
      tx.hosts.put(host);
      tell(tx, host, 'host.added', `${user} added host ${name} (${address})`);
      return { host, invitation: this.invite(tx, host) };
    });
    return { details: this.view(made.host), invitation: made.invitation };
  }

  /** Older tokens of the host end. */
  createJoinToken(nameOrId: string, user: string): Promise<Invitation> {
    return this.deps.state.update((tx) => {
      const host = resolve('host', tx.hosts, nameOrId);
      tell(tx, host, 'host.invited', `${user} made a join token for host ${host.name}`);
      return this.invite(tx, host);
    });
  }

  get(nameOrId: string): HostDetails {
    return this.view(resolve('host', this.deps.state.tables.hosts, nameOrId));
  }

  /** @param keep only these. */
  list(query: PageQuery, keep?: (host: Host) => boolean): Page<HostDetails> {
    const page = pageByName(this.deps.state.tables.hosts, query, keep);
    return { ...page, items: page.items.map((h) => this.view(h)) };
  }

  /** An address that nobody else has; the same again is fine. */
  async update(
    nameOrId: string,
    { address }: { readonly address?: string | undefined },
    user: string,
  ): Promise<HostDetails> {
    const host = await this.deps.state.update((tx) => {
      const before = resolve('host', tx.hosts, nameOrId);
      const there = address === undefined ? before.address : parseHostAddress(address);
      if (there === before.address) return before;
      refuseTaken(tx, there);
      const after = { ...before, address: there, generation: before.generation + 1 };
      tx.hosts.put(after);
      tell(
        tx,
        after,
        'host.moved',
        `${user} said that host ${after.name} is at ${there} now, not at ${before.address}`,
      );
      return after;
    });
    return this.view(host);
  }

  /** @param may throws unless the caller may have a host with these labels. */
  async label(nameOrId: string, change: LabelChange, may: (labels: Labels) => void): Promise<HostDetails> {
    const host = await this.deps.state.update((tx) => {
      const before = resolve('host', tx.hosts, nameOrId);
      const labels = relabel('a host', before.labels, change);
      may(labels);
      const after = { ...before, labels, generation: before.generation + 1 };
      tx.hosts.put(after);
      return after;
    });
    return this.view(host);
  }

  async drain(nameOrId: string, user: string): Promise<{ details: HostDetails; runningVms: readonly string[] }> {
    const host = await this.setMaintenance(nameOrId, true, user);
    const running = this.deps.state.tables.vms
      .byHost(host.id)
      .filter((vm) => this.deps.hosts.vm(vm.id)?.power === 'running' || vm.desiredPower === 'on')
      .map((vm) => vm.name)
      .sort();
    return { details: this.view(host), runningVms: running };
  }

  async resume(nameOrId: string, user: string): Promise<HostDetails> {
    return this.view(await this.setMaintenance(nameOrId, false, user));
  }

  /** @param force forgets what can't be cleaned up on a host that is gone for good. */
  delete(nameOrId: string, force: boolean, user: string): Promise<void> {
    return this.deps.state.update((tx) => {
      const host = resolve('host', tx.hosts, nameOrId);
      const lost = this.whatIsLost(tx, host);
      if (!force && lost.length > 0) throw inUse(host, lost);
      const job = tx.jobs.open().find((j) => isAbout(j, host));
      if (!force && job) throw busy(`host ${host.name}`, job.id);
      if (lost.length > 0) this.checkGone(host);
      for (const vm of tx.vms.byHost(host.id)) {
        const job = tx.jobs.holders(`vm/${vm.id}`)[0];
        if (job) throw busy(`vm ${vm.name}`, job.id);
        tx.vms.delete(vm.id);
      }
      for (const volume of tx.volumes.byHost(host.id)) tx.volumes.delete(volume.id);
      tx.hosts.delete(host.id);
      revokeAllOf(tx, host.id, `host ${host.name} was removed`);
      const forgot = lost.length > 0 ? `; forgotten: ${lost.join('; ')}` : '';
      tell(tx, host, 'host.removed', `${user} removed host ${host.name}${forgot}`, forgot ? 'warning' : 'info');
    });
  }

  private setMaintenance(nameOrId: string, maintenance: boolean, user: string): Promise<Host> {
    return this.deps.state.update((tx) => {
      const host = resolve('host', tx.hosts, nameOrId);
      if (host.maintenance === maintenance) return host;
      const changed: Host = { ...host, maintenance, generation: host.generation + 1 };
      tx.hosts.put(changed);
      if (maintenance) tell(tx, host, 'host.drained', `${user} took host ${host.name} out of placement`);
      else tell(tx, host, 'host.resumed', `${user} put host ${host.name} back into placement`);
      return changed;
    });
  }

  private invite(tx: Tx, host: Host): Invitation {
    for (const old of tx.joinTokens.byHost(host.id)) tx.joinTokens.delete(old.id);
    const secret = newSecret();
    const id = newId('token', tx.nowMs);
    const expiresAtMs = tx.nowMs + JOIN_TOKEN_MS;
    tx.joinTokens.put({ id, hostId: host.id, secretHash: hashSecret(secret), expiresAtMs, usedBy: undefined });
    const { trust, advertised } = this.deps;
    const { caPin } = trust;
    return { line: encodeJoinLine({ controller: advertised(), caPin, tokenId: id, secret }), expiresAtMs };
  }

  private whatIsLost(tx: Tx, host: Host): string[] {
    const vms = tx.vms.byHost(host.id).map((vm) => vm.name);
    const volumes = tx.volumes.byHost(host.id).map((v) => v.name);
    const images = tx.imageCopies
      .byHost(host.id)
      .filter((c) => tx.imageCopies.byImage(c.imageId).length === 1)
      .map((c) => tx.images.get(c.imageId)?.name ?? c.imageId);
    const debts = tx.debts.byHost(host.id).length;
    return [
      ...(vms.length > 0 ? [`vm ${some(vms)} on it`] : []),
      ...(volumes.length > 0 ? [`volume ${some(volumes)} on it`] : []),
      ...(images.length > 0 ? [`the only copy of image ${some(images)}`] : []),
      ...(debts > 0 ? [`${debts} thing${debts === 1 ? '' : 's'} on it still to be removed`] : []),
    ];
  }

  /** Forgetting a host that runs guests would leave them running where nobody looks. */
  private checkGone(host: Host): void {
    const { state } = this.deps.hosts.status(host.id);
    if (state !== 'up' && state !== 'maintenance') return;
    throw badState(
      `host ${host.name} is ${state}: --force is for hosts that are gone for good. Delete its VMs and images first.`,
    );
  }

  private view(host: Host): HostDetails {
    const { state, hosts, policy } = this.deps;
    return viewHost(state.tables.hosts.get(host.id) ?? host, { tables: state.tables, hosts, policy });
  }
}

function refuseTaken(tx: Tx, address: string): void {
  const there = [...tx.hosts.values()].find((h) => h.address === address);
  if (there) throw alreadyExists(`host ${there.name} has the address ${address} already`);
}

const newHost = (tx: Tx, name: string, address: string, labels: Readonly<Record<string, string>>): Host => ({
  id: newId('host', tx.nowMs),
  name,
  address,
  labels,
  maintenance: false,
  certificateFingerprint: undefined,
  createdAtMs: tx.nowMs,
  generation: 1,
});

const some = (names: readonly string[]): string =>
  [...names].sort().slice(0, 5).join(', ') + (names.length > 5 ? ` and ${names.length - 5} more` : '');

const inUse = (host: Host, lost: readonly string[]): ClusterError =>
  new ClusterError(
    'IN_USE',
    `host ${host.name} is in use: ${lost.join('; ')}. Remove that first, or use --force if the host is gone for good.`,
  );

const busy = (what: string, jobId: string): ClusterError =>
  new ClusterError('RESOURCE_BUSY', `${what} is being worked on by job ${jobId}: wait for it, or cancel it`, { jobId });

/** It was started for this host, and may not have put anything there yet. */
const isAbout = (job: Job, host: Host): boolean => (job.params as { hostId?: unknown }).hostId === host.id;

function tell(tx: Tx, host: Host, type: string, message: string, severity: Severity = 'info'): void {
  tx.event({ type, severity, subjectKind: 'host', subject: host.name, message, jobId: undefined });
}
