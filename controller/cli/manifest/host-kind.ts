/** Documents of kind host: labels and maintenance are intent; a host itself joins with a token, which no file can hold. */
import type { Host } from '@berth/proto/v1/host.ts';
import { isClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import * as z from 'zod';
import type { Api } from '../core/api.ts';
import type { Change, Kind, Plan } from './kind.ts';
import { labelChanges, relabelling } from './labels.ts';

const schema = z.strictObject({
  kind: z.literal('host'),
  name: z.string().min(1, 'must not be empty'),
  labels: z.record(z.string(), z.string()).optional(),
  spec: z.strictObject({ address: z.string().optional(), maintenance: z.boolean().optional() }).optional(),
  status: z.unknown().optional(),
});
type HostDocument = z.output<typeof schema>;

export const hostKind: Kind = { schema, plan: planHost };

async function planHost(api: Api, d: HostDocument): Promise<Plan> {
  const host = await get(api, d);
  const { address, maintenance = host.maintenance } = d.spec ?? {};
  const moves: Change[] =
    address === undefined || address === host.address
      ? []
      : [{ field: 'address', before: host.address, after: address }];
  const labels = d.labels ?? host.labels;
  const drains: Change[] =
    maintenance === host.maintenance
      ? []
      : [{ field: 'maintenance', before: String(host.maintenance), after: String(maintenance) }];
  const changes = [...moves, ...labelChanges(host.labels, labels), ...drains];
  return {
    ...{ noun: 'host', name: d.name, what: changes.length === 0 ? 'nothing' : 'update', changes },
    apply: (to) => apply(to, host, { address, labels, maintenance }),
  };
}

interface Wanted {
  readonly address: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly maintenance: boolean;
}

async function apply(api: Api, host: Host, { address, labels, maintenance }: Wanted) {
  if (address !== undefined && address !== host.address)
    await api.call(api.hosts, (c) => c.updateHost, { host: host.name, address });
  const change = relabelling(host.labels, labels);
  if (change) await api.call(api.hosts, (c) => c.labelHost, { host: host.name, ...change });
  if (maintenance && !host.maintenance) await api.call(api.hosts, (c) => c.drainHost, { host: host.name });
  if (!maintenance && host.maintenance) await api.call(api.hosts, (c) => c.resumeHost, { host: host.name });
  return { jobId: '', said: 'changed' };
}

async function get(api: Api, d: HostDocument): Promise<Host> {
  try {
    return await api.call(api.hosts, (c) => c.getHost, { host: d.name });
  } catch (e) {
    if (!isClusterError(e, 'NOT_FOUND')) throw e;
    const where = d.spec?.address ?? 'ADDRESS';
    throw notFound(`host ${d.name} does not exist, and joins with a token: berth host add ${d.name} ${where}`);
  }
}
