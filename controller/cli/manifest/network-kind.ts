/** Documents of kind network: what it is stays as it was made; labels, hosts, and addresses of one that is isolated change. */
import { CreateNetworkRequest, UpdateNetworkRequest, type Network } from '@berth/proto/v1/network.ts';
import { invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { oneOf } from '@berth/shared/hardware/values.ts';
import { NETWORK_KINDS } from '@berth/shared/model/network.ts';
import { addressText, rangeText } from '@berth/shared/network/check.ts';
import * as z from 'zod';
import type { Api } from '../core/api.ts';
import type { Change, Kind, Plan } from './kind.ts';
import { labelChanges, relabelling } from './labels.ts';

const text = z.string().min(1, 'must not be empty').optional();
const texts = z.array(z.string()).optional();

const spec = z.strictObject({
  ...{ kind: oneOf(NETWORK_KINDS).optional(), bridge: text, addresses: texts, dhcpRange: text },
  ...{ stp: z.boolean().optional(), delaySeconds: z.number().int().min(0).optional(), hosts: texts, selector: text },
});
const schema = z.strictObject({
  kind: z.literal('network'),
  name: z.string().min(1, 'must not be empty'),
  labels: z.record(z.string(), z.string()).optional(),
  spec: spec.optional(),
  status: z.unknown().optional(),
});
type NetworkDocument = z.output<typeof schema>;
type Spec = z.output<typeof spec>;

export const networkKind: Kind = { schema, plan: planNetwork };

async function planNetwork(api: Api, d: NetworkDocument): Promise<Plan> {
  const network = await find(api, d.name);
  if (network === undefined) return planNew(d);
  const wanted = spelt(d.spec ?? {});
  refuse(d.name, wanted, network);
  const labels = d.labels ?? network.labels;
  const addressed = other('addresses', network.addresses, wanted.addresses);
  const housed = [
    ...other('hosts', network.hosts, wanted.hosts),
    ...other('selector', network.selector, wanted.selector),
  ];
  const changes = [...labelChanges(network.labels, labels), ...addressed, ...housed];
  const relabelled = relabelling(network.labels, labels);
  const request = UpdateNetworkRequest.fromPartial({
    ...{ network: d.name, setLabels: relabelled?.set ?? {}, removeLabels: relabelled?.remove ?? [] },
    ...(addressed.length > 0 && { addresses: { addresses: wanted.addresses ?? [] } }),
    ...(housed.length > 0 && { hosts: { hosts: wanted.hosts ?? [], selector: wanted.selector ?? '' } }),
  });
  return {
    ...{ noun: 'network', name: d.name, what: changes.length === 0 ? 'nothing' : 'update', changes },
    apply: async (to) => {
      const { jobId } = await to.call(to.networks, (c) => c.updateNetwork, request);
      return { jobId, said: 'changed' };
    },
  };
}

function planNew({ name, labels = {}, spec: s = {} }: NetworkDocument): Plan {
  const request = CreateNetworkRequest.fromPartial({
    ...{ name, labels, kind: s.kind ?? 'bridge', bridge: s.bridge ?? '', addresses: s.addresses ?? [] },
    ...{ dhcpRange: s.dhcpRange ?? '', stp: s.stp ?? false, delaySeconds: s.delaySeconds ?? 0 },
    ...{ hosts: s.hosts ?? [], selector: s.selector ?? '' },
  });
  return {
    ...{ noun: 'network', name, what: 'create', changes: [] },
    apply: async (api) => {
      const { jobId } = await api.call(api.networks, (c) => c.createNetwork, request);
      return { jobId, said: 'created' };
    },
  };
}

/** As the controller tells of it: another spelling is no other address. */
const spelt = ({ addresses, dhcpRange, ...s }: Spec): Spec => ({
  ...s,
  ...(addresses && { addresses: addresses.map(addressText) }),
  ...(dhcpRange && { dhcpRange: rangeText(dhcpRange) }),
});

const shown = (v: unknown): string => (Array.isArray(v) ? v.join(', ') : String(v ?? ''));
const other = (field: string, before: unknown, after: unknown): readonly Change[] =>
  after === undefined || shown(before) === shown(after) ? [] : [{ field, before: shown(before), after: shown(after) }];

/** What VMs rely on. */
function refuse(name: string, s: Spec, n: Network): void {
  const pairs: readonly (readonly [string, unknown, unknown])[] = [
    ['kind', n.kind, s.kind],
    ['bridge', n.bridge, s.bridge],
    ['dhcpRange', n.dhcpRange, s.dhcpRange],
    ['stp', n.stp, s.stp],
    ['delaySeconds', n.delaySeconds, s.delaySeconds],
    ...(n.kind === 'isolated' ? [] : [['addresses', n.addresses, s.addresses] as const]),
  ];
  const changed = pairs.find(([, before, after]) => after !== undefined && shown(before) !== shown(after));
  if (changed)
    throw invalidArgument(
      `network ${name}: ${changed[0]} is ${shown(changed[1])}, and stays: make a network beside it, and plug cards over`,
    );
}

async function find(api: Api, network: string): Promise<Network | undefined> {
  try {
    return await api.call(api.networks, (c) => c.getNetwork, { network });
  } catch (e) {
    if (isClusterError(e, 'NOT_FOUND')) return undefined;
    throw e;
  }
}
