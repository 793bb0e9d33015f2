/**
 * Logical networks of this host: what they shall be is written down first, then made so; what is missing later (a boot, somebody's
 * `virsh net-destroy`) is made again when it is looked at. Networks that Berth did not make are shown and never touched.
 */
import { badState, chain } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { NetworkSeen } from '@berth/shared/model/network.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { Turns } from '@berth/shared/runtime/turns.ts';
import type { VirtualNetworkSeen } from '../drivers/virtual-networks.ts';
import type { OperationKind } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { Makers, type HostNetworks, type MakersDeps } from './makers.ts';
import type { NetworkSpec } from './network-spec.ts';
import { NetworkStore } from './network-store.ts';
import { networkHash, networkUuid } from './network-xml.ts';

export interface LogicalNetworksDeps extends MakersDeps {
  readonly operations: Operations;
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Log;
}

const FIRST_RETRY_MS = 5_000;
const LAST_RETRY_MS = 300_000;

const NOT_TAKEN_BACK = 'what was made of a network could not be taken back, and is tried again';

interface Failure {
  readonly why: string;
  readonly tries: number;
  readonly nextMs: number;
}

export class LogicalNetworks {
  readonly ensure: OperationKind<NetworkSpec>;
  readonly remove: OperationKind<string>;
  readonly store: NetworkStore;
  readonly #makers: Makers;
  readonly #failed = new Map<string, Failure>();
  /** One change or look at a time: two must not make the same thing. */
  readonly #turns = new Turns(1);

  constructor(private readonly deps: LogicalNetworksDeps) {
    const { operations, dataDir, log } = deps;
    this.#makers = new Makers(deps);
    this.store = new NetworkStore(dataDir, log);
    this.ensure = operations.define<NetworkSpec>({
      name: 'network.ensure',
      lockKey: (s) => `network/${s.networkId}`,
      run: (s) => this.#inTurn(() => this.#doEnsure(s)),
    });
    this.remove = operations.define<string>({
      name: 'network.remove',
      lockKey: (id) => `network/${id}`,
      run: (id) => this.#inTurn(() => this.#doRemove(id)),
    });
  }

  /** Also makes what is missing, and takes away what could not be. @throws HYPERVISOR_UNAVAILABLE when libvirt is away. */
  observe(): Promise<readonly NetworkSeen[]> {
    return this.#inTurn(async () => {
      for (const spec of this.store.leaving()) await this.#leaveAgain(spec);
      const host = await this.#makers.look();
      const lacking = this.store.all().filter((s) => !isThere(s, host));
      for (const spec of lacking) await this.#makeAgain(spec);
      const now = lacking.length > 0 ? await this.#makers.look() : host;
      for (const spec of this.store.all()) if (isThere(spec, now)) this.#failed.delete(spec.networkId);
      const known = [...this.store.all(), ...this.store.leaving()];
      const ours = new Set(known.map((s) => networkUuid(s.networkId)));
      return [...known.map((s) => this.#seen(s, now)), ...now.virtual.filter((n) => !ours.has(n.uuid)).map(otherSeen)];
    });
  }

  async #doEnsure(spec: NetworkSpec): Promise<void> {
    if (this.store.isLeaving(spec.networkId)) await this.#doRemove(spec.networkId);
    const before = this.store.get(spec.networkId);
    if (before && (before.shape.kind !== spec.shape.kind || before.shape.bridge !== spec.shape.bridge))
      throw badState(
        `network ${spec.name} is here as ${before.shape.kind} ${before.shape.bridge}, which cannot be changed`,
      );
    const others = this.store.all().filter((s) => s.networkId !== spec.networkId);
    await this.#makers.refuse(spec, others, await this.#makers.look());
    await this.store.put(spec);
    try {
      await this.#makers.make(spec);
      this.#failed.delete(spec.networkId);
    } catch (e) {
      if (before) await this.store.put(before);
      else await this.#takeBack(spec);
      throw e;
    }
  }

  /** What cannot be taken back now stays on record: who asks for its removal finds it, and each look tries again. */
  async #takeBack(spec: NetworkSpec): Promise<void> {
    await this.store.putLeaving(spec);
    await this.#doRemove(spec.networkId).catch((e: unknown) => this.#noteFailed(spec, e, NOT_TAKEN_BACK));
  }

  async #leaveAgain(spec: NetworkSpec): Promise<void> {
    if (this.#rests(spec)) return;
    await this.#doRemove(spec.networkId).catch((e: unknown) => this.#noteFailed(spec, e, NOT_TAKEN_BACK));
  }

  async #doRemove(networkId: string): Promise<void> {
    const kept = this.store.get(networkId);
    await this.#makers.remove(networkId, kept);
    await this.store.drop(networkId);
    this.#failed.delete(networkId);
  }

  async #makeAgain(spec: NetworkSpec): Promise<void> {
    if (this.#rests(spec)) return;
    try {
      await this.#makers.make(spec);
      this.deps.log.info({ network: spec.name }, 'a network that shall be here was missing, and was made again');
    } catch (e) {
      this.#noteFailed(spec, e, 'a network that shall be here is not');
    }
  }

  /** It has failed a moment ago. */
  #rests({ networkId }: NetworkSpec): boolean {
    const before = this.#failed.get(networkId);
    return before !== undefined && this.deps.clock.monotonic() < before.nextMs;
  }

  #noteFailed({ networkId, name }: NetworkSpec, e: unknown, what: string): void {
    const { clock, log } = this.deps;
    const before = this.#failed.get(networkId);
    const tries = (before?.tries ?? 0) + 1;
    const waitMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (tries - 1));
    this.#failed.set(networkId, { why: chain(e), tries, nextMs: clock.monotonic() + waitMs });
    if (before?.why !== chain(e)) log.warn({ err: e, network: name }, what);
  }

  #seen(spec: NetworkSpec, host: HostNetworks): NetworkSeen {
    const { networkId, name, shape } = spec;
    const leaving = this.store.isLeaving(networkId);
    const active = !leaving && isThere(spec, host);
    const failed = this.#failed.get(networkId);
    // nobody shall take what is leaving for what he asked for
    const generation = leaving ? 0 : spec.generation;
    return {
      ...{ networkId, name, uuid: networkUuid(networkId), kind: shape.kind, bridge: shape.bridge, generation },
      state: active ? 'active' : failed ? 'failed' : 'inactive',
      reason: active ? '' : (failed?.why ?? ''),
      addresses: shape.addresses,
    };
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const end = await this.#turns.take();
    try {
      return await work();
    } finally {
      end();
    }
  }
}

function isThere(spec: NetworkSpec, { bridges, virtual }: HostNetworks): boolean {
  const bridge = bridges.find((b) => b.name === spec.shape.bridge);
  if (spec.shape.kind === 'isolated')
    return bridge?.owned === true && bridge.up && spec.shape.addresses.every((a) => bridge.addresses.includes(a));
  const found = virtual.find((n) => n.uuid === networkUuid(spec.networkId));
  return found?.active === true && found.mark?.hash === networkHash(spec) && bridge !== undefined;
}

/** Of ours, when this agent has lost what it remembers: the definition says whose it is. */
const otherSeen = ({ uuid, name, kind, bridge, active, addresses, mark }: VirtualNetworkSeen): NetworkSeen => ({
  ...{
    networkId: mark && networkUuid(mark.networkId) === uuid ? mark.networkId : '',
    name,
    uuid,
    kind,
    bridge,
    addresses,
  },
  ...{ state: active ? 'active' : 'inactive', reason: '', generation: 0 },
});
