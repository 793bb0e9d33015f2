/**
 * Guest agents of simulated guests. A guest has one when its user data, as cloud-init would read it, installs
 * qemu-guest-agent; `berth-sim: hangs` there makes it one that never answers, and `berth-sim: lies` one that says what no guest
 * should. It knows a few programs; it is not a model of time.
 */
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { SimDomain, SimHost } from '@berth/shared/sim/sim-host.ts';
import {
  agentRefused,
  noAgent,
  silentAgent,
  type GuestAgents,
  type GuestEvent,
  type GuestProcess,
  type GuestProgram,
} from '../guest-agents.ts';
import { simLies, simTruth } from './sim-guest-words.ts';

type Manner = 'well' | 'hangs' | 'lies';

interface SimGuest {
  /** Of the run of the guest that this is about. */
  readonly startedAtMs: number;
  clockOffsetMs: number;
  frozen: boolean;
  readonly passwords: Map<string, string>;
  readonly processes: Map<number, GuestProcess>;
}

/** How long a guest that hangs is waited for. */
const PATIENCE_MS = 300;

export class SimGuestAgents implements GuestAgents {
  readonly #guests = new Map<string, SimGuest>();
  readonly #listeners = new Set<(e: GuestEvent) => void>();
  readonly #forget: () => void;

  constructor(
    readonly host: SimHost,
    readonly clock: Clock,
  ) {
    this.#forget = host.onDomain((uuid) => this.#changed(uuid));
  }

  async read(uuid: string) {
    const { domain, manner } = await this.#answering(uuid);
    return manner === 'lies' ? simLies() : simTruth(this.host, domain);
  }

  async readTime(uuid: string): Promise<number> {
    const { guest } = await this.#answering(uuid);
    return this.clock.now() + guest.clockOffsetMs;
  }

  async setTime(uuid: string, atMs: number): Promise<void> {
    const { guest } = await this.#answering(uuid);
    guest.clockOffsetMs = atMs - this.clock.now();
  }

  async freeze(uuid: string): Promise<number> {
    const { guest } = await this.#answering(uuid);
    guest.frozen = true;
    return 1;
  }

  async thaw(uuid: string): Promise<number> {
    const { guest } = await this.#answering(uuid, true);
    const was = guest.frozen;
    guest.frozen = false;
    return was ? 1 : 0;
  }

  async setPassword(uuid: string, user: string, password: string): Promise<void> {
    const { guest, domain } = await this.#answering(uuid);
    if (user !== 'root') throw agentRefused(domain.name, `set the password of ${user}`, 'no such user', 'BAD_STATE');
    guest.passwords.set(user, password);
  }

  async run(uuid: string, program: GuestProgram): Promise<number> {
    const { guest, domain } = await this.#answering(uuid);
    const pid = 100 + guest.processes.size;
    const ended = simProgram(program);
    if (ended === undefined)
      throw agentRefused(
        domain.name,
        `run ${program.program}`,
        'Failed to execute child process: No such file',
        'BAD_STATE',
      );
    guest.processes.set(pid, ended);
    return pid;
  }

  async look(uuid: string, pid: number): Promise<GuestProcess> {
    const { guest } = await this.#answering(uuid);
    return guest.processes.get(pid) ?? { ended: false };
  }

  async ask(uuid: string, action: 'shutdown' | 'reboot'): Promise<void> {
    await this.#answering(uuid);
    if (action === 'shutdown') this.host.shutdown(uuid);
    else this.host.reboot(uuid, () => undefined);
  }

  subscribe(listener: (e: GuestEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  close(): void {
    this.#forget();
  }

  /** For tests: what a guest's user is called by. */
  passwordOf(uuid: string, user: string): string | undefined {
    return this.#guests.get(uuid)?.passwords.get(user);
  }

  isFrozen(uuid: string): boolean {
    return this.#guests.get(uuid)?.frozen ?? false;
  }

  #changed(uuid: string): void {
    const d = this.host.domains.get(uuid);
    const before = this.#guests.get(uuid);
    const off = d === undefined || d.power === 'stopped' || d.power === 'crashed';
    if (d === undefined || off) return void (d?.reason === 'saved' || this.#guests.delete(uuid));
    if (before?.startedAtMs === d.startedAtMs) return;
    this.#guests.set(uuid, {
      ...{ startedAtMs: d.startedAtMs, clockOffsetMs: 0, frozen: false },
      ...{ passwords: new Map(), processes: new Map() },
    });
    if (before) this.#tell({ type: 'reset', uuid });
    if (this.#mannerOf(d) === undefined) return;
    this.clock.after(this.host.options.bootMs, () => {
      if (this.#guests.get(uuid)?.startedAtMs === d.startedAtMs) this.#tell({ type: 'agent', uuid, connected: true });
    });
  }

  #tell(e: GuestEvent): void {
    for (const listener of this.#listeners) listener(e);
  }

  #mannerOf(d: SimDomain): Manner | undefined {
    const seed = [...this.host.volumes.values()].find((v) => v.files && d.xml.includes(v.volumeId))?.files ?? {};
    const userData = seed['user-data'] ?? '';
    if (!userData.includes('qemu-guest-agent')) return undefined;
    return (/berth-sim: (hangs|lies)/.exec(userData)?.[1] as Manner | undefined) ?? 'well';
  }

  async #answering(uuid: string, thawing = false) {
    const domain = this.host.get(uuid);
    if (domain.power !== 'running') throw badState(`domain ${domain.name} is ${domain.power}`);
    const manner = this.#mannerOf(domain);
    const guest = this.#guests.get(uuid);
    const booted = this.clock.now() - domain.startedAtMs >= this.host.options.bootMs;
    if (manner === undefined || guest === undefined || !booted) throw noAgent(domain.name);
    if (manner === 'hangs') {
      await this.clock.sleep(PATIENCE_MS);
      throw silentAgent(domain.name);
    }
    if (guest.frozen && !thawing) throw agentRefused(domain.name, 'answer', 'its file systems are frozen', 'BAD_STATE');
    return { domain, manner, guest };
  }
}

/** `/bin/echo`, `/bin/cat`, `/bin/false`, `/bin/yes`, and `/bin/sleep`, which never ends. */
function simProgram(p: GuestProgram): GuestProcess | undefined {
  const none = Buffer.alloc(0);
  const end = (exitCode: number, output: Uint8Array, errorOutput: Uint8Array = none): GuestProcess => ({
    ...{ ended: true, exitCode, signal: 0, output, errorOutput, truncated: false },
  });
  switch (p.program) {
    case '/bin/echo':
      return end(0, Buffer.from(`${p.arguments.join(' ')}\n`));
    case '/bin/cat':
      return end(0, p.input);
    case '/bin/false':
      return end(1, none, Buffer.from('no\n'));
    case '/bin/yes':
      return end(0, Buffer.alloc(2 ** 21, 'y\n'));
    case '/bin/sleep':
      return { ended: false };
    default:
      return undefined;
  }
}

/** For tests that want the simulated ones behind the interface. */
export function simAgentsOf(guests: GuestAgents): SimGuestAgents {
  if (guests instanceof SimGuestAgents) return guests;
  throw new ClusterError('INTERNAL', 'these guests are not simulated');
}
