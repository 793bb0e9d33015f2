/**
 * What one host gives to a support bundle: its logs, checks, hardware and settings, all at once and within a deadline. What it does
 * not give is noted, with the reason; a host that can't be reached gives what the controller knows of it.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { AgentClient } from '../hosts/agent-client.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { HostLogLine } from '../hosts/log-client.ts';
import type { Tables } from '../state/state.ts';
import { jsonPart, missing, plainName, textPart, type Missing, type Part, type Parts } from './part.ts';

export interface HostPartDeps {
  readonly tables: Tables;
  readonly hosts: Hosts;
  readonly clock: Clock;
}

export const HOST_DEADLINE_MS = 20_000;
/** Of one log. */
const MOST_CHARS = 1 << 20;
const MOST_VMS = 20;
const VM_LINES = 200;
const MOST_NAME = 36;
const MOST_VM_NAME = 30;

export async function hostParts(d: HostPartDeps, host: Host, lines: number, over: AbortSignal): Promise<Parts> {
  const folder = `hosts/${plainName(host.name, MOST_NAME)}`;
  const { imageDigests, volumeIds, complete, ...status } = d.hosts.status(host.id);
  const known = jsonPart(`${folder}/status.json`, {
    host,
    ...status,
    images: imageDigests,
    complete,
    volumes: volumeIds.size,
  });
  let agent: AgentClient;
  try {
    agent = d.hosts.agent(host.id);
  } catch (e) {
    return { parts: [known], missing: [missing(folder, e)] };
  }
  const late = new AbortController();
  const timer = d.clock.after(HOST_DEADLINE_MS, () => late.abort(tooLate(host)));
  const signal = AbortSignal.any([late.signal, over]);
  try {
    const asked = questions({ ...d, host, agent, lines, signal }).map(async ([name, ask]): Promise<Part | Missing> => {
      const path = `${folder}/${name}`;
      try {
        return await unless(ask(path), signal);
      } catch (e) {
        return missing(path, e);
      }
    });
    const all = await Promise.all(asked);
    return {
      parts: [known, ...all.filter((a): a is Part => 'data' in a)],
      missing: all.filter((a): a is Missing => 'why' in a),
    };
  } finally {
    timer.cancel();
  }
}

const tooLate = (host: Host): ClusterError =>
  new ClusterError('HOST_UNREACHABLE', `host ${host.name} did not answer within ${HOST_DEADLINE_MS / 1000} s`);

interface Asking extends HostPartDeps {
  readonly host: Host;
  readonly agent: AgentClient;
  readonly lines: number;
  readonly signal: AbortSignal;
}
type Question = readonly [name: string, ask: (path: string) => Promise<Part>];

function questions(a: Asking): Question[] {
  const { agent, host, hosts, tables } = a;
  const facts = hosts.status(host.id).facts;
  const log = (source: string, of: { uuid: string; name: string }, tailLines: number) => async (path: string) => {
    needCapability(host, facts, 'host.log');
    const wanted = { source, ...of, sinceMs: 0, tailLines, follow: false };
    return textPart(path, await textOf(agent.logs.read(wanted, a.signal)));
  };
  const none = { uuid: '', name: '' };
  const vms = tables.vms.byHost(host.id).slice(0, MOST_VMS);
  return [
    ...['agent', 'libvirt', 'kernel'].map((source): Question => [`${source}.log`, log(source, none, a.lines)]),
    ...vms.map((vm): Question => [
      `qemu/${plainName(vm.name, MOST_VM_NAME)}.log`,
      log('qemu', vm, Math.min(VM_LINES, a.lines)),
    ]),
    [
      'agent.yaml',
      async (path) => {
        needCapability(host, facts, 'host.log');
        return textPart(path, await agent.logs.configuration());
      },
    ],
    [
      'checks.json',
      async (path) => {
        needCapability(host, facts, 'host.check');
        return jsonPart(path, await agent.machine.check([]));
      },
    ],
    [
      'tuning.json',
      async (path) => {
        needCapability(host, facts, 'host.tuning');
        return jsonPart(path, await agent.machine.tuning());
      },
    ],
    [
      'hardware.json',
      async (path) => {
        needCapability(host, facts, 'host.hardware');
        return jsonPart(path, await agent.machine.inventory());
      },
    ],
  ];
}

async function textOf(lines: AsyncIterable<HostLogLine>): Promise<string> {
  const all: string[] = [];
  let chars = 0;
  for await (const { atMs, text } of lines) {
    const line = `${atMs === 0 ? '-' : new Date(atMs).toISOString()} ${text}\n`;
    all.push(line);
    chars += line.length;
    if (chars > MOST_CHARS) return [...all, '… cut off here\n'].join('');
  }
  return all.join('');
}

/** What a host does not answer in time is not waited for. */
function unless<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
