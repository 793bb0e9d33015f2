/** What one agent costs its host while nothing happens: thirty domains, statistics every ten seconds. */
import type { LabHost } from '@berth/deploy/lab/host.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { withLabCluster, type LabCluster } from './lab-cluster.ts';
import { useOf, type Use } from './process-cost.ts';
import { mib, remark, table, type Row, type Say } from './report.ts';

const DOMAINS = 30;
const RUNNING = 4;
const FOR_MS = 60_000;
/** Memory that grows shows only after a while. */
const LATER_MS = 10 * 60_000;
const EVERY_S = 10;

export async function agentTopic(say: Say): Promise<void> {
  await withLabCluster(['h1'], async (l) => {
    const [host] = l.hosts;
    if (host === undefined) return;
    const names = Array.from({ length: DOMAINS }, (_, i) => `vm-${i + 1}`);
    await l.cluster.ok('vm', 'clone', 'base', ...names, '--memory', '128MiB');
    const rows: Row[] = [];
    rows.push(...(await measure(l, host, `${DOMAINS} defined`)));
    const running = names.slice(0, RUNNING);
    await l.cluster.ok('vm', 'start', ...running);
    for (const name of running) await l.cluster.serial(name, /^berth-guest: /m, 240_000);
    rows.push(...(await measure(l, host, `${RUNNING} of them running`)));
    await systemClock.sleep(LATER_MS);
    rows.push(...(await measure(l, host, `${LATER_MS / 60_000} minutes later`)));
    table(say, 'One agent, idle', ['', 'CPU per minute', 'of a core', 'RSS', 'PSS'], rows);
    remark(
      say,
      `over ${FOR_MS / 1000} s each, statistics every ${EVERY_S} s. Aim: under 0.5 % of a core and 90 MB (86 MiB)`,
    );
    remark(say, 'virsh: list --all and domstats every 10 s, which is less than what the agent reports');
  });
}

async function measure(l: LabCluster, host: LabHost, what: string): Promise<Row[]> {
  const pids = { agent: await host.agentPid(), libvirtd: await host.libvirtPid() };
  const read = (path: string): Promise<string> => host.readFile(path);
  const [agent, libvirtd] = await useOf(FOR_MS, [
    { pid: pids.agent ?? 0, read },
    { pid: pids.libvirtd ?? 0, read },
  ]);
  if (!agent || !libvirtd || (await l.cluster.hostState(host.name)) !== 'up') throw new Error(`${host.name} is not up`);
  const virshMs = await virshCpuMs(host);
  return [
    [`agent, ${what}`, ...shown(agent)],
    ['  libvirtd meanwhile', ...shown(libvirtd)],
    ['  virsh beside it', `${virshMs.toFixed(0)} ms`, `${(virshMs / 600).toFixed(2)} %`],
  ];
}

const shown = (u: Use): Row => [
  `${((u.cpuMs * 60_000) / u.forMs).toFixed(0)} ms`,
  `${u.cpuPercent.toFixed(2)} %`,
  mib(u.rssBytes),
  mib(u.pssBytes),
];

/** CPU of the programs alone for one minute's worth of looks, without what they cost libvirtd. */
async function virshCpuMs(host: LabHost): Promise<number> {
  const script = `i=0; while [ $i -lt ${60 / EVERY_S} ]; do virsh -q list --all; virsh -q domstats --list-active; i=$((i+1)); done >/dev/null; times`;
  const [, children = ''] = (await host.run(['sh', '-c', script])).trim().split('\n');
  const seconds = [...children.matchAll(/(\d+)m([\d.]+)s/g)].map((m) => Number(m[1]) * 60 + Number(m[2]));
  return seconds.reduce((sum, s) => sum + s * 1000, 0);
}
