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

function hostWords({ model, lacking }: ClusterHost): string {
  if (model === '') return 'not known';
  if (lacking.length > 0) return `${model}: lacks ${lacking.join(' ')}: VMs of the cluster are not placed there`;
  return model;
}

const MOST_NAMES = 4;

/** Hosts that have the same, together. */
export function hostLines(hosts: readonly ClusterHost[]): readonly (readonly [string, string])[] {
  const alike = new Map<string, string[]>();
  for (const h of hosts) {
    const words = hostWords(h);
    const names = alike.get(words) ?? [];
    names.push(h.host);
    alike.set(words, names);
  }
  return [...alike].map(([words, names]) => {
    const more = names.length > MOST_NAMES ? ` and ${names.length - MOST_NAMES} more` : '';
    return [`on ${names.slice(0, MOST_NAMES).join(', ')}${more}`, words];
  });
}

export const clusterDocument = (c: Cluster): object => ({
  kind: 'cluster',
  name: c.name,
  spec: { cpu: c.cpu?.asked ?? 'none' },
});
