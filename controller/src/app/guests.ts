/**
 * What people do inside of guests, through the agents in them: asked of the host at once, without a job, and told in an event.
 * Nothing is tried again by itself. Passwords, and what programs are given and print, are written down nowhere.
 */
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { EXEC_LIMITS, FREEZE_DEFAULT_MS, FREEZE_LONGEST_MS, type GuestSeen } from '@berth/shared/model/guest.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import { formatDuration } from '@berth/shared/units/duration.ts';
import { oneLine } from '@berth/shared/units/text.ts';
import type { DomainRef } from '../hosts/agent-client.ts';
import type { GuestClient, GuestNews } from '../hosts/guest-client.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { domainRef } from '../jobs/making.ts';
import type { State } from '../state/state.ts';
import type { Vms } from './vms.ts';

export interface GuestsAppDeps {
  readonly state: State;
  readonly hosts: Pick<Hosts, 'guestClient'>;
  readonly vms: Pick<Vms, 'locate'>;
  /** Of the controller's configuration: whether programs may be run in guests at all. */
  readonly guestExec: 'allowed' | 'denied';
}

export interface ExecInGuest {
  readonly program: string;
  readonly arguments: string[];
  readonly environment: string[];
  readonly input: Buffer;
  /** 0: 60 s. */
  readonly timeoutMs: number;
}

export class GuestsApp {
  constructor(private readonly deps: GuestsAppDeps) {}

  async read(nameOrId: string): Promise<GuestSeen> {
    const { client, ref } = this.reach(nameOrId);
    return client.read(ref);
  }

  /** Gives what its clock was off by, if that could be read. */
  async syncTime(nameOrId: string): Promise<number | undefined> {
    const { client, ref, vm } = this.reach(nameOrId);
    const offset = await client.syncTime(ref);
    await this.note(vm, 'vm.timeSynced', 'got the time of its host');
    return offset;
  }

  async freeze(nameOrId: string, givenMs: number): Promise<{ fileSystems: number; thawAtMs: number }> {
    const forMs = givenMs || FREEZE_DEFAULT_MS;
    if (!(forMs >= 1_000 && forMs <= FREEZE_LONGEST_MS))
      throw invalidArgument('file systems may stay frozen for 1 s to 1 h: their programs wait all that time');
    const { client, ref, vm } = this.reach(nameOrId);
    const frozen = await client.freeze(ref, forMs);
    await this.note(vm, 'vm.frozen', `has its file systems frozen for at most ${formatDuration(forMs)}`);
    return frozen;
  }

  async thaw(nameOrId: string): Promise<number> {
    const { client, ref, vm } = this.reach(nameOrId);
    const fileSystems = await client.thaw(ref);
    await this.note(vm, 'vm.thawed', 'has its file systems thawed');
    return fileSystems;
  }

  async setPassword(nameOrId: string, user: string, password: string): Promise<void> {
    const { client, ref, vm } = this.reach(nameOrId);
    await client.setPassword(ref, user, password);
    await this.note(vm, 'vm.passwordSet', `has a new password of its user ${oneLine(user, 64)}`);
  }

  /** Written down before it is done: what ran must not be unknown because somebody hung up. */
  async *exec(nameOrId: string, request: ExecInGuest, signal: AbortSignal): AsyncIterable<GuestNews> {
    if (this.deps.guestExec !== 'allowed')
      throw new ClusterError(
        'PERMISSION_DENIED',
        'programs may not be run in guests: the configuration of the controller says guestExec: denied, as it does by default',
      );
    const timeoutMs = request.timeoutMs || EXEC_LIMITS.defaultMs;
    if (!(timeoutMs >= 1_000 && timeoutMs <= EXEC_LIMITS.longestMs))
      throw invalidArgument('a program may take 1 s to 24 h');
    const { client, ref, vm } = this.reach(nameOrId);
    await this.note(vm, 'vm.exec', `is asked to run ${oneLine(request.program, 200)} in its guest`);
    yield* client.run(ref, { ...request, timeoutMs: BigInt(timeoutMs) }, signal);
  }

  private reach(nameOrId: string): { readonly client: GuestClient; readonly ref: DomainRef; readonly vm: Vm } {
    const { vm, hostId } = this.deps.vms.locate(nameOrId, 'guest');
    return { client: this.deps.hosts.guestClient(hostId), ref: domainRef(vm), vm };
  }

  private async note(vm: Vm, type: string, words: string): Promise<void> {
    const event = { type, severity: 'info', subjectKind: 'vm', subject: vm.name, jobId: undefined } as const;
    await this.deps.state.update((tx) => {
      tx.event({ ...event, message: `vm ${vm.name} ${words}` });
      const row = tx.vms.get(vm.id);
      if (row) tx.vms.put({ ...row }); // as it is: the audit log has a row for what is touched
    });
  }
}
