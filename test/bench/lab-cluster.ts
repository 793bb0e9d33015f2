/** A whole Berth over real lab hosts for one topic of the bench; removed afterwards, whatever happened. */
import type { LabHost } from '@berth/deploy/lab/host.ts';
import { removeLab, startLab } from '@berth/deploy/lab/lab.ts';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { createApi, type Api } from '@berth/controller/cli/core/api.ts';
import { configStore } from '@berth/controller/cli/core/config.ts';
import { JobState } from '@berth/proto/v1/job.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { Cluster } from '../harness/cluster.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { guardLab } from './guard.ts';

export interface LabCluster {
  readonly cluster: Cluster;
  readonly hosts: readonly LabHost[];
  readonly api: Api;
}

export interface LabClusterOptions {
  /** YAML for each agent. */
  readonly agentConfig?: string;
  /** Default: the host image. */
  readonly image?: string;
}

/** @param names of hosts; the guest image is imported as `base` to the first. */
export async function withLabCluster(
  names: readonly string[],
  work: (l: LabCluster) => Promise<void>,
  { agentConfig = '', image }: LabClusterOptions = {},
): Promise<void> {
  const label = `bench-${process.pid}`;
  const guard = guardLab(label);
  let cluster: Cluster | undefined;
  try {
    const lab = await startLab({ hosts: names, label, ...(image !== undefined && { image }) });
    cluster = await Cluster.start(await machineAddress(lab));
    guard.watch(cluster);
    for (const host of lab.hosts) {
      await cluster.addLabHost(host, agentConfig);
      await cluster.waitUp(host.name);
      if (host === lab.hosts[0]) await cluster.ok('image', 'import', guestImagePath(), '--name', 'base');
    }
    const api = apiOf(cluster);
    await work({ cluster, hosts: lab.hosts, api });
    api.close();
  } finally {
    await cluster?.stop();
    await removeLab(label);
    guard.end();
  }
}

const LONG_MS = 15 * 60_000;

/** What takes minutes, on a machine that others use too. */
export async function patiently(cluster: Cluster, ...args: readonly string[]): Promise<void> {
  const { code, err, out } = await cluster.berthWith({ timeoutMs: LONG_MS }, ...args);
  if (code !== 0) throw new Error(`berth ${args.join(' ')} → ${code}: ${err}${out}`);
}

export function apiOf(cluster: Cluster): Api {
  process.env['BERTH_CONFIG'] = cluster.configFile;
  return createApi(configStore(undefined).endpoint(), () => systemClock.now());
}

/** Waits for a job as the command line does, without its start-up. */
export async function jobDone(api: Api, jobId: string): Promise<void> {
  const over = new AbortController();
  for await (const job of api.stream(api.jobs, (c) => c.watchJob, { job: jobId }, over.signal)) {
    if (job.state === JobState.SUCCEEDED) return over.abort();
    if (job.state === JobState.FAILED || job.state === JobState.STUCK || job.state === JobState.CANCELLED)
      throw new Error(`${job.kind} ${job.subject}: ${job.error}`);
  }
}
