/** The machines that hosts are, asked anew: checks, hardware. Changes nothing. */
import type { Host, HostCheck } from '@berth/shared/model/host.ts';
import type { Inventory } from '@berth/shared/model/inventory.ts';
import { driftOf } from '@berth/shared/model/tuning.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { formatDuration } from '@berth/shared/units/duration.ts';
import type { MachineClient } from '../hosts/machine-client.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { State } from '../state/state.ts';
import { splitAddress } from './address.ts';
import { resolve } from './names.ts';

export interface MachinesDeps {
  readonly state: Pick<State, 'tables'>;
  readonly hosts: Pick<Hosts, 'status' | 'agent'>;
  readonly clock: Clock;
}

export interface Checkup {
  readonly host: Host;
  readonly checks: readonly HostCheck[];
  readonly clockSkewMs: number;
}

/** Names of others that one host is asked for. */
const MOST_NAMES = 16;
/** Certificates and tickets bear some seconds; events of two hosts are told apart by less. */
const MOST_SKEW_MS = 2_000;
const MONTH_MS = 2 ** 31 - 1;

export class Machines {
  constructor(private readonly deps: MachinesDeps) {}

  /** @param sees the caller: names of other hosts are told to nobody else. @throws HOST_UNREACHABLE, UNSUPPORTED, NOT_FOUND. */
  async check(nameOrId: string, sees: (other: Host) => boolean): Promise<Checkup> {
    const { clock } = this.deps;
    const host = resolve('host', this.deps.state.tables.hosts, nameOrId);
    const machine = this.ask(host, 'host.check');
    const askedAt = clock.monotonic();
    const drift = this.drift(host, machine);
    const { checks, clockMs } = await machine.check(this.namesFor(host, sees));
    const tookMs = clock.monotonic() - askedAt;
    const skew = skewOf(clockMs, clock.now(), tookMs);
    return { host, checks: [...checks, skew.check, ...(await drift)], clockSkewMs: skew.ms };
  }

  /** @throws HOST_UNREACHABLE, UNSUPPORTED, NOT_FOUND. */
  async inventory(nameOrId: string): Promise<{ readonly host: Host; readonly inventory: Inventory }> {
    const host = resolve('host', this.deps.state.tables.hosts, nameOrId);
    return { host, inventory: await this.ask(host, 'host.hardware').inventory() };
  }

  /** Of a host that Berth keeps tuned. Never rejects: it is one check among others. */
  private async drift(host: Host, machine: MachineClient): Promise<readonly HostCheck[]> {
    if (host.tuning === undefined || Object.keys(host.tuning).length === 0) return [];
    const settings = await machine.tuning().then(
      (t) => t.settings,
      () => undefined,
    );
    const off = Object.entries(driftOf(host.tuning, settings ?? [])).map(([name, value]) => `${name} (${value})`);
    const check = { name: 'tuning', ok: off.length === 0, fatal: false };
    if (settings === undefined) return [{ ...check, detail: 'its agent does not tell how its kernel is set' }];
    if (check.ok) return [{ ...check, detail: 'its kernel is set as wanted' }];
    return [
      { ...check, detail: `its kernel is not set as wanted: ${off.join(', ')}; see berth host tune ${host.name}` },
    ];
  }

  private ask(host: Host, capability: 'host.check' | 'host.hardware'): MachineClient {
    const { machine } = this.deps.hosts.agent(host.id);
    needCapability(host, this.deps.hosts.status(host.id).facts, capability);
    return machine;
  }

  /** Under which the operator has added other hosts; not those that are addresses. */
  private namesFor(host: Host, sees: (other: Host) => boolean): readonly string[] {
    const names = new Set<string>();
    for (const other of this.deps.state.tables.hosts.values()) {
      const name = splitAddress(other.address, 0)?.host ?? '';
      const isName = /[a-z]/i.test(name) && !name.includes(':');
      if (isName && other.id !== host.id && sees(other)) names.add(name);
      if (names.size >= MOST_NAMES) break;
    }
    return [...names];
  }
}

/**
 * The host answered at the end of what took so long: its clock then is compared with ours now. How long its answer was under way
 * is not known, but it can't be longer than all of it.
 * @param tookMs from the question to the answer.
 */
export function skewOf(
  theirMs: number,
  ourMs: number,
  tookMs: number,
): { readonly ms: number; readonly check: HostCheck } {
  const ms = Math.max(-MONTH_MS, Math.min(MONTH_MS, Math.round(theirMs - ourMs)));
  // ahead: what is seen is the least; behind: the answer's way may explain it
  const sureMs = ms > 0 ? ms : Math.max(0, -ms - tookMs);
  const which = ms > 0 ? 'ahead of' : 'behind';
  const check = { name: 'clock-skew', fatal: false };
  if (sureMs <= MOST_SKEW_MS)
    return { ms, check: { ...check, ok: true, detail: "its clock agrees with the controller's" } };
  const detail = `its clock is ${formatDuration(sureMs)} ${which} the controller's: synchronise both (apt-get install chrony)`;
  return { ms, check: { ...check, ok: false, detail } };
}
