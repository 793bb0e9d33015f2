/** Documents of kind pool: where it is and on which hosts, which stay as they were made, and its settings. No document holds a secret. */
import { CreatePoolRequest, type Pool } from '@berth/proto/v1/pool.ts';
import { invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { oneOf } from '@berth/shared/hardware/values.ts';
import { POOL_TYPES } from '@berth/shared/model/pool.ts';
import * as z from 'zod';
import type { Api } from '../core/api.ts';
import type { Change, Kind, Plan } from './kind.ts';

const text = z.string().optional();
const texts = z.array(z.string()).optional();
const percent = z.number().int().min(1).max(100).optional();

const spec = z.strictObject({
  ...{ type: oneOf(POOL_TYPES).optional(), path: text, shared: z.boolean().optional() },
  ...{ hosts: texts, allHosts: z.boolean().optional(), selector: text },
  ...{ sourceHosts: texts, sourcePath: text, sourceName: text, devices: texts, format: text },
  ...{ initiator: text, adapter: text },
  ...{ warnAt: percent, stopAt: percent, overcommit: z.number().optional(), autostart: z.boolean().optional() },
});
const schema = z.strictObject({
  kind: z.literal('pool'),
  name: z.string().min(1, 'must not be empty'),
  spec: spec.optional(),
  status: z.unknown().optional(),
});
type PoolDocument = z.output<typeof schema>;
type Spec = z.output<typeof spec>;

export const poolKind: Kind = { schema, plan: planPool };

async function planPool(api: Api, d: PoolDocument): Promise<Plan> {
  const pool = await find(api, d.name);
  const wanted = d.spec ?? {};
  if (pool === undefined) return planNew(d.name, wanted);
  insistSame(d.name, wanted, pool);
  const changes = settingsChanged(wanted, pool);
  return {
    ...{ noun: 'pool', name: d.name, what: changes.length === 0 ? 'nothing' : 'update', changes },
    apply: async (to) => {
      const { warnAt: warnPercent, stopAt: stopPercent, overcommit, autostart } = wanted;
      await to.call(to.pools, (c) => c.updatePool, { pool: d.name, warnPercent, stopPercent, overcommit, autostart });
      return { jobId: '', said: 'changed' };
    },
  };
}

function planNew(name: string, w: Spec): Plan {
  const request = CreatePoolRequest.fromPartial({
    ...{ name, shared: w.shared ?? false, allHosts: w.allHosts ?? false, selector: w.selector ?? '' },
    ...{ hosts: w.hosts ?? [], autostart: w.autostart ?? true, source: sourceOf(w) },
    ...{ warnPercent: w.warnAt ?? 0, stopPercent: w.stopAt ?? 0, overcommit: w.overcommit ?? 0 },
  });
  return {
    ...{ noun: 'pool', name, what: 'create', changes: [] },
    apply: async (api) => {
      const { jobId } = await api.call(api.pools, (c) => c.createPool, request);
      return { jobId, said: 'created' };
    },
  };
}

const sourceOf = (w: Spec) => ({
  ...{ type: w.type ?? 'dir', targetPath: w.path ?? '', hosts: w.sourceHosts ?? [], path: w.sourcePath ?? '' },
  ...{ name: w.sourceName ?? '', devices: w.devices ?? [], format: w.format ?? '' },
  ...{ initiator: w.initiator ?? '', adapter: w.adapter ?? '' },
});

/** Where the storage is cannot be changed under the disks that lie in it. */
function insistSame(name: string, w: Spec, pool: Pool): void {
  const was = { ...pool.source, shared: pool.shared, allHosts: pool.allHosts, selector: pool.selector };
  const now = { ...sourceOf(w), ...(w.path === undefined && { targetPath: pool.source?.targetPath ?? '' }) };
  const hosts = { shared: w.shared ?? false, allHosts: w.allHosts ?? false, selector: w.selector ?? '' };
  const asked: Readonly<Record<string, unknown>> = pool.name === 'local' ? {} : { ...now, ...hosts };
  const other = Object.keys(asked).find(
    (k) => JSON.stringify(asked[k]) !== JSON.stringify((was as Readonly<Record<string, unknown>>)[k]),
  );
  if (other !== undefined)
    throw invalidArgument(`pool ${name}: ${other} is another than it was made with, and stays: make a pool beside it`);
}

function settingsChanged(w: Spec, p: Pool): readonly Change[] {
  const pairs: readonly (readonly [string, unknown, unknown])[] = [
    ['warnAt', p.warnPercent, w.warnAt ?? p.warnPercent],
    ['stopAt', p.stopPercent, w.stopAt ?? p.stopPercent],
    ['overcommit', p.overcommit, w.overcommit ?? p.overcommit],
    ['autostart', p.autostart, w.autostart ?? p.autostart],
  ];
  return pairs
    .filter(([, before, after]) => before !== after)
    .map(([field, before, after]) => ({ field, before: String(before), after: String(after) }));
}

async function find(api: Api, pool: string): Promise<Pool | undefined> {
  try {
    return await api.call(api.pools, (c) => c.getPool, { pool });
  } catch (e) {
    if (isClusterError(e, 'NOT_FOUND')) return undefined;
    throw e;
  }
}
