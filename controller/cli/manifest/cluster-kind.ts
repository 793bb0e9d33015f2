/** Documents of kind cluster: there is one, `default`. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { DEFAULT_CLUSTER } from '@berth/shared/model/cluster.ts';
import * as z from 'zod';
import type { Api } from '../core/api.ts';
import type { Kind, Plan } from './kind.ts';

const schema = z.strictObject({
  kind: z.literal('cluster'),
  name: z.string().min(1, 'must not be empty'),
  spec: z.strictObject({ cpu: z.string().optional() }).optional(),
  status: z.unknown().optional(),
});

export const clusterKind: Kind = { schema, plan: planCluster };

async function planCluster(api: Api, { name, spec }: z.output<typeof schema>): Promise<Plan> {
  if (name !== DEFAULT_CLUSTER) throw invalidArgument(`cluster ${name}: there is one cluster, ${DEFAULT_CLUSTER}`);
  const was = (await api.call(api.cluster, (c) => c.getCluster, {})).cpu?.asked ?? 'none';
  const cpu = spec?.cpu ?? was;
  // what auto comes to is worked out when it is set, and not at every apply
  if (cpu === was)
    return { noun: 'cluster', name, what: 'nothing', changes: [], apply: async () => ({ jobId: '', said: '' }) };
  await api.call(api.cluster, (c) => c.setClusterCpu, { cpu, dryRun: true });
  return {
    ...{ noun: 'cluster', name, what: 'update', changes: [{ field: 'cpu', before: was, after: cpu }] },
    apply: async (to) => {
      await to.call(to.cluster, (c) => c.setClusterCpu, { cpu, dryRun: false });
      return { jobId: '', said: 'changed' };
    },
  };
}
