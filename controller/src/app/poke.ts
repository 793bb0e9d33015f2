/**
 * What a guest is given at once: keys, an NMI. No job, and no lock: a guest that hangs in a job may need just this. Done once
 * by its operation id; an answer that gets lost is told, and nothing is tried again by itself. An event tells of it.
 */
import { newId, type HostId } from '@berth/shared/model/ids.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { AgentClient, DomainRef, OperationView } from '../hosts/agent-client.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { domainRef } from '../jobs/making.ts';
import { failure, pollMs } from '../jobs/operate.ts';
import type { State } from '../state/state.ts';

export interface Poke {
  readonly name: 'nmi' | 'sendKeys';
  /** Of the event: "got an NMI". */
  readonly words: string;
  ask(agent: AgentClient, operationId: string, domain: DomainRef): Promise<OperationView>;
}

export interface PokeDeps {
  readonly state: State;
  readonly hosts: Pick<Hosts, 'agent'>;
  readonly clock: Clock;
}

/** An agent that still runs it is asked so often. */
const MOST_LOOKS = 20;

export async function poke(deps: PokeDeps, { vm, hostId }: { vm: Vm; hostId: HostId }, p: Poke): Promise<void> {
  const agent = deps.hosts.agent(hostId);
  const prefix = `${newId('job', deps.clock.now())}.`; // of no job: an agent that still keeps it later is told to forget it
  const ask = (): Promise<OperationView> => p.ask(agent, `${prefix}${p.name}`, domainRef(vm));
  let op = await ask();
  for (let n = 0; op.state === 'running' && n < MOST_LOOKS; n++) {
    await deps.clock.sleep(pollMs(n));
    op = await ask();
  }
  agent.acknowledgeOperations([prefix]).catch(() => undefined);
  if (op.state !== 'succeeded') throw failure(op);
  const event = { type: `vm.${p.name}`, severity: 'info', subjectKind: 'vm', subject: vm.name } as const;
  await deps.state.update((tx) => {
    tx.event({ ...event, message: `vm ${vm.name} ${p.words}`, jobId: undefined });
    const row = tx.vms.get(vm.id);
    if (row) tx.vms.put({ ...row }); // as it is: the audit log has a row for what is touched
  });
}
