/** What the controller itself gives to a support bundle: who it is, its settings, its last lines, and what is in its tables. */
import { freemem, loadavg, release, totalmem } from 'node:os';
import type { Host } from '@berth/shared/model/host.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { LogRing } from '@berth/shared/log/ring.ts';
import { listAlarms } from '../app/alarms.ts';
import { viewHost } from '../app/host-view.ts';
import { viewVm } from '../app/vm-view.ts';
import { printConfig, type Config } from '../config.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import type { State } from '../state/state.ts';
import { jsonPart, linesPart, missing, textPart, type Missing, type Part, type Parts } from './part.ts';

export interface ControllerPartDeps {
  readonly state: State;
  readonly hosts: Hosts;
  readonly jobs: Pick<Jobs, 'list'>;
  readonly config: Config;
  readonly about: { readonly version: string; readonly startedAtMs: number };
  /** Undefined where its process keeps none. */
  readonly ring: LogRing | undefined;
  readonly nowMs: number;
}

const MOST_VMS = 5_000;
const MOST_EVENTS = 2_000;
const MOST_JOBS = 300;

export async function controllerParts(d: ControllerPartDeps, lines: number, wanted: readonly Host[]): Promise<Parts> {
  const { tables } = d.state;
  const ids = new Set<string | undefined>(wanted.map((h) => h.id));
  const all = ids.size === tables.hosts.size;
  const vms = [...tables.vms.values()].filter((vm) => all || ids.has(vm.hostId));
  const parts: Part[] = [
    jsonPart('controller/about.json', about(d)),
    textPart('controller/config.yaml', printConfig(d.config)),
    linesPart(
      'controller/hosts.jsonl',
      wanted.map((h) => hostLine(h, d)),
    ),
    linesPart(
      'controller/vms.jsonl',
      vms.slice(0, MOST_VMS).map((vm) => vmLine(vm, d)),
    ),
    linesPart('controller/images.jsonl', tables.images.values()),
    linesPart('controller/alarms.jsonl', listAlarms(tables, { subjectKind: '', subject: '' })),
    linesPart(
      'controller/debts.jsonl',
      wanted.flatMap((h) => tables.debts.byHost(h.id)),
    ),
    linesPart('controller/events.jsonl', await d.state.events({ limit: MOST_EVENTS })),
    linesPart('controller/jobs.jsonl', await d.jobs.list({ limit: MOST_JOBS })),
  ];
  const gaps: Missing[] = [];
  if (vms.length > MOST_VMS)
    gaps.push(missing('controller/vms.jsonl', new Error(`only ${MOST_VMS} of ${vms.length} VMs are in it`)));
  if (d.ring === undefined) gaps.push(missing('controller/controller.log', new Error('this process keeps no log')));
  else parts.push(textPart('controller/controller.log', logOf(d.ring, lines)));
  return { parts, missing: gaps };
}

const about = ({ about: { version, startedAtMs }, state, nowMs }: ControllerPartDeps) => ({
  ...{ version, installationId: state.installationId, startedAtMs, nowMs },
  ...{ revision: state.revision, epoch: state.epoch, node: process.version, kernel: release() },
  ...{ memory: process.memoryUsage(), loadavg: loadavg(), totalMemory: totalmem(), freeMemory: freemem() },
  rows: Object.fromEntries(Object.entries(state.tables).map(([name, t]) => [name, (t as { size?: number }).size ?? 0])),
});

/** Without what the host's own folder has. */
function hostLine(host: Host, d: ControllerPartDeps) {
  const { tables } = d.state;
  const { status, ...rest } = viewHost(host, { tables, hosts: d.hosts, policy: d.config.policy });
  return { ...rest, state: status.state, reason: status.reason, agentVersion: status.facts?.agentVersion };
}

const vmLine = (vm: Vm, { state, hosts, nowMs }: ControllerPartDeps) =>
  viewVm(vm, { tables: state.tables, hosts, nowMs });

const logOf = (ring: LogRing, lines: number): string =>
  ring
    .all()
    .slice(-lines)
    .map((l) => `${l.atMs === 0 ? '-' : new Date(l.atMs).toISOString()} ${l.text}\n`)
    .join('');
