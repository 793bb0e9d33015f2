/** Which host receives an uploaded image: the one with most room in its pool that has no fatal fault. Pure choice. */
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { HostStatus } from '../hosts/hosts.ts';
import type { Tables } from '../state/state.ts';
import type { JobDeps } from './deps.ts';

/** @param bytes that the upload will take: it lies there beside what it is converted to, so twice as much must be free. */
export function chooseReceiver(
  tables: Tables,
  deps: Pick<JobDeps, 'hosts'>,
  bytes: number,
  only: HostId | undefined,
): Host {
  if (only !== undefined && !tables.hosts.get(only)) throw notFound(`host ${only} does not exist any more`);
  const asked = [...tables.hosts.values()].filter((h) => only === undefined || h.id === only);
  const rated = asked.map((host) => ({ host, free: free(deps.hosts.status(host.id)), why: '' }));
  const refused = asked.map((h) => [h.name, whyNot(h, deps.hosts.status(h.id), bytes) ?? review(tables, h)] as const);
  const fit = rated.filter((_, i) => refused[i]?.[1] === undefined);
  fit.sort((a, b) => b.free - a.free || (a.host.id < b.host.id ? -1 : 1));
  const [best] = fit;
  if (best) return best.host;
  const words = refused.map(([name, why]) => `${name} ${why}`).join('; ');
  const none = 'the cluster has no hosts. Add one with: berth host add NAME ADDRESS';
  throw new ClusterError('NO_CAPACITY', `no host can receive the image: ${words || none}`);
}

const free = (s: HostStatus): number => s.statistics?.diskFreeBytes ?? s.facts?.diskFreeBytes ?? 0;

const review = (tables: Tables, { id, name }: Host): string | undefined =>
  tables.reviews.get(id) && `was restored, and is not accepted yet: berth host review ${name}`;

function whyNot(host: Host, status: HostStatus, bytes: number): string | undefined {
  if (host.maintenance) return 'in maintenance';
  if (status.state !== 'up' || !status.facts) return status.reason || `is ${status.state}`;
  const fault = status.facts.checks.find((c) => c.fatal && !c.ok);
  if (fault) return `${fault.name}: ${fault.detail}`;
  const wanted = 2 * bytes;
  if (free(status) >= wanted) return undefined;
  return `disk ${formatBytes(free(status))} free of ${formatBytes(wanted)} wanted (the file and the image made from it)`;
}
