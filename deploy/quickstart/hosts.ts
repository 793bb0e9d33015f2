/** The quickstart's hosts: containers of the lab, or simulated agents; each enrolled as a person would enrol it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Api } from '@berth/controller/cli/core/api.ts';
import { HostState } from '@berth/proto/v1/host.ts';
import type { Lab } from '../lab/lab.ts';
import { endDaemons, ensureDaemon, freePorts, lastLine, runCommand, runs, settles, type Argv } from './processes.ts';
import { root, type Place, type QuickstartState } from './state.ts';

const PROGRAM = join(root, 'agent', 'dist', 'berth-agent.js');
/** How long a host may take from its container's start to being up. */
const UP_MS = 120_000;
/** Where the ports of simulated hosts begin. */
const FIRST_PORT = 17_444;

/** Loaded only when there are real hosts: the container library is not small. */
const labs = () => import('../lab/lab.ts');
export const labOf = async ({ label }: Place): Promise<Lab | undefined> => (await labs()).findLab(label);

/** The containers, without agents yet. Answers the machine's own address in their network: the controller listens there. */
export async function ensureContainers(place: Place, names: readonly string[]): Promise<string> {
  const lab = (await labOf(place)) ?? (await (await labs()).startLab({ hosts: names, label: place.label }));
  await Promise.all(lab.hosts.map(async (h) => ((await h.running()) ? undefined : h.restart())));
  const { docker } = await import('../lab/engine.ts');
  const { IPAM } = (await (await docker()).getNetwork(`berth-${place.label}`).inspect()) as {
    IPAM?: { Config?: { Gateway?: string }[] };
  };
  const gateway = IPAM?.Config?.find((c) => c.Gateway)?.Gateway;
  if (gateway === undefined) throw new Error('the network of the containers has no gateway address');
  return gateway.split('/')[0] ?? gateway;
}

export async function ensureHosts(
  place: Place,
  api: Api,
  simulate: boolean,
  names: readonly string[],
): Promise<string> {
  const known = new Map((await listHosts(api)).map((h) => [h.name, h]));
  const missing = names.filter((n) => !known.has(n) || known.get(n)?.state === HostState.ENROLLING);
  if (simulate) await simulated(place, api, names, missing);
  else await contained(place, api, names, missing);
  let slow: string[] = [];
  await settles(async () => {
    const dead = simulate ? names.find((n) => !simulatedRuns(place, n)) : undefined;
    if (dead !== undefined) throw new Error(`the agent of ${dead} ended: ${lastLine(logOf(place, dead))}`);
    const hosts = await listHosts(api);
    const reasons = new Map(hosts.map((h) => [h.name, h.state === HostState.UP ? undefined : h.stateReason]));
    slow = names.flatMap((n) => {
      const reason = reasons.get(n);
      return reason === undefined ? [] : [`${n} is not up (${reason || 'no reason known'})`];
    });
    return slow.length === 0;
  }, UP_MS);
  if (slow.length > 0) throw new Error(slow.join('; '));
  return missing.length > 0 ? 'enrolled, up' : 'up';
}

const listHosts = async (api: Api) =>
  (await api.call(api.hosts, (c) => c.listHosts, { page: { pageSize: 1000, pageToken: '' } })).hosts;

/** The join token of a new host, or of one that was added but never enrolled. */
async function joinToken(api: Api, name: string, address: string): Promise<string> {
  const known = (await listHosts(api)).some((h) => h.name === name);
  const r = known
    ? await api.call(api.hosts, (c) => c.createJoinToken, { host: name })
    : await api.call(api.hosts, (c) => c.createHost, { name, address, labels: {} });
  return `${r.joinToken?.token ?? ''}\n`;
}

async function contained(place: Place, api: Api, names: readonly string[], missing: readonly string[]): Promise<void> {
  const lab = await labOf(place);
  if (!lab) throw new Error('the containers are gone; run the quickstart again');
  await Promise.all(
    names.map(async (name) => {
      const host = lab.host(name);
      if (missing.includes(name)) {
        await host.writeFile('/etc/berth/agent.yaml', 'domainType: qemu\n');
        const token = await joinToken(api, name, `${host.address}:7444`);
        const r = await host.agentCommand(['enroll'], { input: token });
        if (r.exitCode !== 0) throw new Error(`${name}: ${(r.stderr || r.stdout).trim()}`);
      }
      await host.startAgent();
    }),
  );
}

const logOf = (place: Place, name: string): string => join(place.stateDir, `${name}.log`);
const agentConfig = (place: Place, name: string): string => join(place.stateDir, name, 'agent.yaml');
const agentArgv = (place: Place, name: string): Argv => [
  process.execPath,
  PROGRAM,
  'run',
  '--simulate',
  '--config',
  agentConfig(place, name),
];

/** Whether the process that is a simulated host runs. */
export const simulatedRuns = (place: Place, name: string): boolean => runs(agentArgv(place, name));

async function simulated(place: Place, api: Api, names: readonly string[], missing: readonly string[]): Promise<void> {
  const ports = await freePorts('127.0.0.1', FIRST_PORT, 2 * missing.length);
  await Promise.all(
    names.map(async (name) => {
      const n = missing.indexOf(name);
      if (n >= 0) await enrolSimulated(place, api, name, ports.slice(2 * n, 2 * n + 2));
      ensureDaemon(agentArgv(place, name), logOf(place, name));
    }),
  );
}

async function enrolSimulated(
  place: Place,
  api: Api,
  name: string,
  [port, peerPort]: readonly number[],
): Promise<void> {
  const dataDir = join(place.stateDir, name);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const listen = `listen: 127.0.0.1:${port}\npeerListen: 127.0.0.1:${peerPort}\n`;
  writeFileSync(agentConfig(place, name), `dataDir: ${dataDir}\n${listen}logLevel: info\n`);
  const token = await joinToken(api, name, `127.0.0.1:${port}`);
  await runCommand([process.execPath, PROGRAM, 'enroll', '--config', agentConfig(place, name)], token);
}

/** How many there were, simulated or not. */
export async function stopHosts(place: Place, state: QuickstartState | undefined): Promise<number> {
  const ended = await endDaemons(PROGRAM, place.stateDir);
  if (state?.simulate) return ended;
  const { removeLab } = await labs();
  return ended + (await removeLab(place.label).catch(() => 0)); // without an engine there are no containers
}
