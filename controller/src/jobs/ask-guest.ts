/**
 * How a guest is asked to shut down or reboot: through its agent where one answers, by the power button otherwise, and by the
 * button again when it does not obey, since a guest that is still booting, or busy, misses it.
 */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, VmId } from '@berth/shared/model/ids.ts';
import type { AgentClient, DomainRef, OperationView } from '../hosts/agent-client.ts';
import type { JobDeps } from './deps.ts';
import type { RemoteContext, Wait } from './engine/define.ts';
import { settle } from './operate.ts';

/** Absent: the agent where one answers, then the button. */
export type AskMode = 'acpi' | 'agent';

export interface Asking {
  readonly action: 'shutdown' | 'reboot';
  readonly mode: AskMode | undefined;
  /** One answered when the job began. */
  readonly agentAnswers: boolean;
  readonly hostId: HostId;
  readonly domain: DomainRef;
  readonly beganAtMs: number;
}

const PRESS_AGAIN_MS = 10_000;
const AGENT_FAILED = 'agent failed';

export const agentAnswers = (deps: JobDeps, vmId: VmId): boolean => deps.hosts.guest(vmId)?.agent === 'connected';

export async function askGuest(
  c: Pick<RemoteContext<unknown, unknown, JobDeps>, 'attempt' | 'progress' | 'notes' | 'opId' | 'nowMs' | 'deps'>,
  a: Asking,
): Promise<OperationView | Wait> {
  const agent = c.deps.hosts.agent(a.hostId);
  const press = Math.max(0, Math.floor((c.nowMs - a.beganAtMs) / PRESS_AGAIN_MS));
  const nth = press === 0 ? '' : `.${press}`;
  const byAgent = () => settle(c, agent.askGuestPower(`${c.opId}.agent${nth}`, a.domain, a.action), 'asking');
  if (a.mode === 'agent') return byAgent();
  const tried = a.mode === 'acpi' || !a.agentAnswers || press > 0 || c.notes.has(AGENT_FAILED);
  if (!tried) {
    try {
      return await byAgent();
    } catch {
      c.notes.set(AGENT_FAILED, true); // the button is there for that
    }
  }
  return settle(c, buttonOf(agent, a)(`${c.opId}${nth}`, a.domain), 'asking');
}

const buttonOf = (agent: AgentClient, { action }: Asking) =>
  action === 'shutdown' ? agent.shutdownDomain.bind(agent) : agent.rebootDomain.bind(agent);

/** @throws INVALID_ARGUMENT for another word. */
export function checkMode(mode: string | undefined): AskMode | undefined {
  if (mode === undefined || mode === '' || mode === 'auto') return undefined;
  if (mode === 'acpi' || mode === 'agent') return mode;
  throw invalidArgument(`a guest is asked by acpi or by agent, not by "${mode.slice(0, 40)}"`);
}

/** @throws INVALID_ARGUMENT for a word that is not one of `words`. */
export function checkThen<W extends string>(then: string | undefined, words: readonly W[]): W | undefined {
  if (then === undefined || then === '') return undefined;
  const found = words.find((w) => w === then);
  if (found === undefined) throw invalidArgument(`then is ${words.join(', ')}; not "${then.slice(0, 40)}"`);
  return found;
}
