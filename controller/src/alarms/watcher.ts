/**
 * Raises and clears alarms: looks at everything again and again, and writes a row and an event when one begins to be so
 * or ends. Rows are durable, so that a restart of the controller raises nothing twice. What is an alarm is kinds.ts's.
 */
import { statfs } from 'node:fs/promises';
import { chain } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Alarm, AlarmSubject } from '@berth/shared/model/alarm.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { State, Tx } from '../state/state.ts';
import {
  CONTROLLER_KINDS,
  HOST_KINDS,
  JOB_KINDS,
  VM_KINDS,
  type AlarmKind,
  type Finding,
  type Look,
  type Space,
} from './kinds.ts';
import { POOL_KINDS, SPACE_KINDS } from './pool-kinds.ts';

const EVERY_MS = 2_000;
/** Objects looked at before others get their turn: an inventory of 300,000 VMs must not hold the event loop up. */
const AT_ONCE = 2_000;
/** It must have been over for that long, so that what comes and goes is one alarm. */
const CLEAR_AFTER_MS = 6_000;

export interface AlarmDeps {
  readonly state: State;
  readonly hosts: Pick<Hosts, 'status' | 'view' | 'vm' | 'guest'>;
  readonly clock: Clock;
  readonly log: Pick<Log, 'error'>;
  readonly dataDir: string;
}

interface Found {
  readonly alarm: Alarm;
  readonly raiseAfterMs: number;
}

export class AlarmWatcher {
  /** Monotonic times of the first sight of what is not raised yet, and of the first miss of what is not cleared yet. */
  private begun = new Map<string, { atMs: number; nowMs: number }>();
  private over = new Map<string, number>();
  private timer: Timer | undefined;
  private stopped = false;

  constructor(private readonly deps: AlarmDeps) {}

  start(): void {
    this.timer = this.deps.clock.after(EVERY_MS, () => void this.round());
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
  }

  private async round(): Promise<void> {
    try {
      await this.look(await ownDisk(this.deps.dataDir));
    } catch (e) {
      if (!this.stopped) this.deps.log.error({ err: e }, `alarms could not be looked at: ${chain(e)}`);
    }
    if (!this.stopped) this.start();
  }

  /** One look at everything. */
  async look(space: Space | undefined): Promise<void> {
    const { state, clock } = this.deps;
    const { found, unknown } = await this.findAll(space);
    const now = clock.monotonic();
    const raise = [...found.values()].filter((f) => this.isDue(f, now));
    const clear = [...state.tables.alarms.values()].filter((a) => {
      if (found.has(a.id) || unknown.has(a.id)) return void this.over.delete(a.id);
      const since = this.over.get(a.id) ?? now;
      this.over.set(a.id, since);
      return now - since >= CLEAR_AFTER_MS;
    });
    for (const id of this.begun.keys()) if (!found.has(id)) this.begun.delete(id);
    if (raise.length === 0 && clear.length === 0) return;
    await state.update((tx) => {
      for (const { alarm } of raise) put(tx, alarm);
      for (const alarm of clear) remove(tx, alarm);
    });
    for (const { id } of clear) this.over.delete(id);
  }

  /** To be written now: newly so for long enough, or worse or better than it was. */
  private isDue({ alarm, raiseAfterMs }: Found, now: number): boolean {
    const stands = this.deps.state.tables.alarms.get(alarm.id);
    if (stands) return stands.severity !== alarm.severity;
    return now - (this.begun.get(alarm.id)?.atMs ?? now) >= raiseAfterMs;
  }

  private async findAll(ownDiskSpace: Space | undefined) {
    const { tables } = this.deps.state;
    const world: Look = {
      ...this.deps,
      nowMs: this.deps.clock.now(),
      tables,
      ownDisk: ownDiskSpace,
      strays: this.strays(),
    };
    const found = new Map<string, Found>();
    const unknown = new Set<string>();
    const ask = <O>(kinds: readonly AlarmKind<O>[], object: O, of: readonly [AlarmSubject, string, string]) => {
      for (const kind of kinds) {
        const id = `${kind.kind}/${of[1]}`;
        const answer = kind.look(object, world, tables.alarms.get(id) !== undefined);
        if (answer === 'unknown') unknown.add(id);
        else if (answer) found.set(id, { alarm: this.alarm(id, kind, answer, of), raiseAfterMs: kind.raiseAfterMs });
      }
    };
    const each = async <O>(objects: Iterable<O>, look: (object: O) => void) => {
      for (const [i, object] of [...objects].entries()) {
        look(object);
        if (i % AT_ONCE === AT_ONCE - 1) await this.deps.clock.sleep(0);
      }
    };
    await each(tables.hosts.values(), (h) => ask(HOST_KINDS, h, ['host', h.id, h.name]));
    await each(tables.vms.values(), (v) => ask([...VM_KINDS, ...SPACE_KINDS], v, ['vm', v.id, v.name]));
    await each(tables.jobs.open(), (j) => ask(JOB_KINDS, j, ['job', j.id, j.id]));
    for (const p of tables.pools.values()) ask(POOL_KINDS, p, ['pool', p.id, p.name]);
    ask(CONTROLLER_KINDS, null, ['controller', 'controller', 'controller']);
    return { found, unknown };
  }

  private alarm(
    id: string,
    kind: { readonly kind: string; readonly severity: Alarm['severity'] },
    f: Finding,
    [subjectKind, , subject]: readonly [AlarmSubject, string, string],
  ): Alarm {
    const { clock } = this.deps;
    const begun = this.begun.get(id) ?? { atMs: clock.monotonic(), nowMs: clock.now() };
    this.begun.set(id, begun);
    const { message, advice } = f;
    const sinceMs = this.deps.state.tables.alarms.get(id)?.sinceMs ?? f.sinceMs ?? begun.nowMs;
    return {
      id,
      kind: kind.kind,
      severity: f.severity ?? kind.severity,
      subjectKind,
      subject,
      message,
      advice,
      sinceMs,
    };
  }

  private strays(): ReadonlyMap<string, readonly Host[]> {
    const { state, hosts } = this.deps;
    const found = new Map<string, Host[]>();
    for (const host of state.tables.hosts.values())
      for (const d of hosts.status(host.id).foreign) {
        if (!d.vmId || d.power === 'stopped' || d.power === 'crashed') continue;
        if (state.tables.vms.get(d.vmId)?.hostId === host.id) continue;
        found.set(d.vmId, [...(found.get(d.vmId) ?? []), host]);
      }
    return found;
  }
}

async function ownDisk(dataDir: string): Promise<Space | undefined> {
  try {
    const { bsize, blocks, bavail } = await statfs(dataDir);
    return { totalBytes: bsize * blocks, freeBytes: bsize * bavail };
  } catch {
    return undefined; // what is wrong with it shows elsewhere
  }
}

function put(tx: Tx, alarm: Alarm): void {
  tx.alarms.put(alarm);
  tell(tx, alarm, 'alarm.raised', `${alarm.message}. ${alarm.advice}`);
}

function remove(tx: Tx, alarm: Alarm): void {
  tx.alarms.delete(alarm.id);
  tell(tx, alarm, 'alarm.cleared', `no longer so: ${alarm.message}`);
}

function tell(tx: Tx, { subjectKind, subject, severity }: Alarm, type: string, message: string): void {
  const jobId = subjectKind === 'job' ? subject : undefined;
  const raised = severity === 'critical' ? 'alarm' : 'warning';
  tx.event({ type, severity: type === 'alarm.raised' ? raised : 'info', subjectKind, subject, message, jobId });
}
