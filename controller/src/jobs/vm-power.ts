/**
 * Jobs vm.reset, vm.suspend and vm.resume: one request to the host, and what people look at next is seen. None of
 * them changes intent or claims: a suspended VM shall run, and takes as much of its host as before.
 */
import type { HostId } from '@berth/shared/model/ids.ts';
import type { AgentClient, DomainRef, OperationView } from '../hosts/agent-client.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait, type JobDef } from './engine/define.ts';
import { domainRef, getVm } from './making.ts';
import { settle, untilSeen } from './operate.ts';
import { hostOfVm, type VmParams } from './vm-start.ts';

type Ask = (agent: AgentClient, operationId: string, domain: DomainRef) => Promise<OperationView>;

interface Verb {
  readonly kind: string;
  readonly ask: Ask;
  /** Until the host reports this one; undefined: nothing to be seen. */
  readonly after: 'running' | 'paused' | undefined;
  /** "suspended": of the event, which is `vm.suspended`. */
  readonly word: string;
  readonly event: string;
}

/** QEMU answers in milliseconds; one that is frozen never does. */
const DEADLINE_MS = 60_000;

/** Without undo: what a guest was told can't be untold, and a QEMU that did not answer would not hear the undo either. */
function powerJob(verb: Verb): JobDef<VmParams, JobDeps> {
  const host = (c: { readonly outs: { readonly find: { readonly hostId: HostId } } }): HostId => c.outs.find.hostId;
  return defineJob<VmParams, JobDeps>(verb.kind, 1)
    .local('find', { run: ({ tables, params }) => ({ hostId: hostOfVm(getVm(tables, params.vmId)) }) })
    .remote('ask', {
      host,
      deadlineMs: DEADLINE_MS,
      async run(c) {
        const vm = getVm(c.tables, c.params.vmId);
        const op = await settle(c, verb.ask(c.deps.hosts.agent(host(c)), c.opId, domainRef(vm)), 'asking');
        if (Wait.is(op)) return op;
        return untilSeen(c, verb.after === undefined || c.deps.hosts.vm(vm.id)?.power === verb.after, 'asking');
      },
    })
    .local('record', {
      run({ tx, tables, params, outs, jobId }) {
        const { name } = getVm(tables, params.vmId);
        const message = `vm ${name} ${verb.word} on ${tables.hosts.get(outs.find.hostId)?.name ?? outs.find.hostId}`;
        tx.event({ type: verb.event, severity: 'info', subjectKind: 'vm', subject: name, message, jobId });
        return null;
      },
    })
    .build();
}

export const vmReset = powerJob({
  kind: 'vm.reset',
  ask: (agent, id, domain) => agent.resetDomain(id, domain),
  after: undefined,
  word: 'reset',
  event: 'vm.reset',
});

export const vmSuspend = powerJob({
  kind: 'vm.suspend',
  ask: (agent, id, domain) => agent.suspendDomain(id, domain),
  after: 'paused',
  word: 'suspended',
  event: 'vm.suspended',
});

export const vmResume = powerJob({
  kind: 'vm.resume',
  ask: (agent, id, domain) => agent.resumeDomain(id, domain),
  after: 'running',
  word: 'resumed',
  event: 'vm.resumed',
});
