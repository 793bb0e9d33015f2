/** The quickstart's hosts: containers of the lab, or simulated agents; each enrolled as a person would enrol it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Api } from '@berth/controller/cli/core/api.ts';
import { HostState } from '@berth/proto/v1/host.ts';
import type { Lab } from '../lab/lab.ts';
import { endDaemon, freePort, lastLine, runCommand, runs, settles, startDaemon } from './processes.ts';
import { root, saveState, stateDir, type QuickstartState } from './state.ts';

const LABEL = 'quickstart';
const PROGRAM = join(root, 'agent', 'dist', 'berth-agent.js');
/** How long a host may take from its container's start to being up. */
const UP_MS = 120_000;

/** Loaded only when there are real hosts: the container library is not small. */
const labs = () => import('../lab/lab.ts');
export const labOf = async (): Promise<Lab | undefined> => (await labs()).findLab(LABEL);

/** The containers, without agents yet. Answers the machine's own address in their network: the controller listens there. */
export async function ensureContainers(names: readonly string[]): Promise<string> {
  const lab = await labOf();
  if (lab && names.some((n) => !lab.hosts.some((h) => h.name === n)))
    throw new Error(
      `${lab.hosts.length} hosts run already. For another number: npm run quickstart -- --down, then again`,
    );
  if (!lab) await (await labs()).startLab({ hosts: names, label: LABEL });
  const { docker } = await import('../lab/engine.ts');
  const { IPAM } = (await (await docker()).getNetwork(`berth-${LABEL}`).inspect()) as {
    IPAM?: { Config?: { Gateway?: string }[] };
  };
  const gateway = IPAM?.Config?.find((c) => c.Gateway)?.Gateway;
  if (gateway === undefined) throw new Error('the network of the containers has no gateway address');
  return gateway.split('/')[0] ?? gateway;
}

export async function ensureHosts(api: Api, state: QuickstartState, names: readonly string[]): Promise<string> {
  const known = new Map((await listHosts(api)).map((h) => [h.name, h]));
  const missing = names.filter((n) => !known.has(n) || known.get(n)?.state === HostState.ENROLLING);
  if (state.simulate) await simulated(api, state, names, missing);
  else await contained(api, names, missing);
  let slow: string[] = [];
  const up = await settles(async () => {
    const dead = state.agentPids.findIndex((pid) => !runs(pid, PROGRAM));
    if (dead >= 0)
      throw new Error(`the agent of ${names[dead]} ended: ${lastLine(join(stateDir, `${names[dead]}.log`))}`);
    const hosts = await listHosts(api);
    slow = names.filter((n) => hosts.find((h) => h.name === n)?.state !== HostState.UP);
    return slow.length === 0;
  }, UP_MS);
  if (!up) {
    const hosts = await listHosts(api);
    throw new Error(
      `${slow.map((n) => `${n} is not up (${hosts.find((h) => h.name === n)?.stateReason || 'no reason known'})`).join('; ')}`,
    );
  }
  return missing.length > 0 ? 'enrolled, up' : 'up already';
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

async function contained(api: Api, names: readonly string[], missing: readonly string[]): Promise<void> {
  const lab = await labOf();
  if (!lab) throw new Error('the containers are gone; start again with: npm run quickstart');
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

async function simulated(
  api: Api,
  state: QuickstartState,
  names: readonly string[],
  missing: readonly string[],
): Promise<void> {
  const pids = await Promise.all(
    names.map(async (name, i) => {
      const running = state.agentPids[i];
      if (running !== undefined && runs(running, PROGRAM)) return running;
      const dir = join(stateDir, name);
      const config = join(dir, 'agent.yaml');
      if (missing.includes(name)) {
        mkdirSync(dir, { recursive: true, mode: 0o700 });
        const [port, peerPort] = [await freePort('127.0.0.1', 0), await freePort('127.0.0.1', 0)];
        writeFileSync(
          config,
          `dataDir: ${dir}\nlisten: 127.0.0.1:${port}\npeerListen: 127.0.0.1:${peerPort}\nlogLevel: info\n`,
        );
        await runCommand(
          [process.execPath, PROGRAM, 'enroll', '--config', config],
          await joinToken(api, name, `127.0.0.1:${port}`),
        );
      }
      return startDaemon(
        [process.execPath, PROGRAM, 'run', '--simulate', '--config', config],
        join(stateDir, `${name}.log`),
      );
    }),
  );
  state.agentPids = pids;
  saveState(state);
}

/** How many there were. */
export async function stopHosts(state: QuickstartState | undefined): Promise<number> {
  const ended = await Promise.all((state?.agentPids ?? []).map((pid) => endDaemon(pid, PROGRAM)));
  const simulatedCount = ended.filter(Boolean).length;
  if (state?.simulate) return simulatedCount;
  const { removeLab } = await labs();
  return simulatedCount + (await removeLab(LABEL).catch(() => 0));
}
