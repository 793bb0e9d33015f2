/** What people read of a cluster, and the document that apply takes. */
import type { Cluster, ClusterHost } from '@berth/proto/v1/cluster.ts';
import type { CpuDefinition } from '@berth/proto/v1/cpu.ts';
import { cpuWords } from '@berth/shared/model/cpu.ts';

export const definitionWords = (d: CpuDefinition | undefined): string =>
  d === undefined
    ? ''
    : cpuWords({
        ...d,
        features: d.features.map((f) => ({ name: f.name, policy: f.policy === 'disable' ? 'disable' : 'require' })),
      });

export function hostWords({ cpu, lacking }: ClusterHost): string {
  if (cpu === undefined) return 'not known';
  if (lacking.length > 0) return `${cpu.model}: lacks ${lacking.join(' ')}: VMs of the cluster are not placed there`;
  return cpu.model;
}

export const clusterDocument = (c: Cluster): object => ({
  kind: 'cluster',
  name: c.name,
  spec: { cpu: c.cpu?.asked ?? 'none' },
});
