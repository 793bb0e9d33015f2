/**
 * The serial consoles that are open through this agent: one person at a time for each VM. Whoever comes back after a lost
 * connection takes it over from itself, by the id of the session. What a session shows is serial-session.ts's.
 */
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Disks } from '../drivers/disks.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import { checkDomainRef, type DomainRef, type Domains } from './domains.ts';
import { hasPort, taken } from './serial-port.ts';
import { SerialSession } from './serial-session.ts';

export interface ConsolesDeps {
  readonly domains: Pick<Domains, 'need' | 'find'>;
  readonly hypervisor: Pick<Hypervisor, 'openConsole'>;
  readonly disks: Pick<Disks, 'readSerialLog'>;
  readonly clock: Clock;
}

export interface ConsoleRequest extends DomainRef {
  /** Take it over from whoever has it. */
  readonly force: boolean;
  /** Of the caller's making; empty: none. */
  readonly session: string;
  /** Position in the serial log to go on at; undefined: from now on. */
  readonly from: string | undefined;
}

export class Consoles {
  private readonly open = new Map<string, SerialSession>();

  constructor(private readonly deps: ConsolesDeps) {}

  /**
   * The caller ends it by closing it.
   * @throws BAD_STATE when the guest is off; RESOURCE_BUSY when somebody else has its console, unless `force`; INVALID_ARGUMENT.
   */
  async attach(request: ConsoleRequest): Promise<SerialSession> {
    const { uuid, vmId, session, force } = request;
    const ref = checkDomainRef({ uuid, vmId });
    const { domains, disks } = this.deps;
    const seen = await domains.need(ref);
    if (!hasPort(seen)) throw badState(`vm ${seen.name} is ${seen.power}; it has a console only while it runs`);
    // before the port is open: what is printed in between is shown
    const begin = request.from === undefined ? { lastBytes: 0 } : { position: request.from };
    const { position } = await disks.readSerialLog(vmId, begin, 0);
    const before = this.open.get(uuid);
    const again = before !== undefined && session !== '' && before.id === session;
    const look = () => domains.find(ref);
    const made = new SerialSession(session, ref, { ...this.deps, look }, request.from ?? position);
    if (again) before.close();
    await made.open(force || again);
    if (!again) before?.end(taken(seen.name));
    this.open.set(uuid, made);
    return made;
  }

  /** Of a session that its caller has done with. */
  detach(uuid: string, session: SerialSession): void {
    session.close();
    if (this.open.get(uuid) === session) this.open.delete(uuid);
  }
}
