/** berth network set, delete. */
import { UpdateNetworkRequest } from '@berth/proto/v1/network.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { labels, LABEL, list, NO_WAIT, text, yes, type Command, type Flags } from '../core/command.ts';
import { runMany } from '../job/many.ts';
import { hostNames, HOSTS } from './create.ts';

export const networkSet: Command = {
  noun: 'network',
  verb: 'set',
  summary: 'change labels, hosts or addresses of a network',
  details: `Kind, bridge and NAT stay as they were made: make another network beside it, and plug cards over with berth vm set.
Examples:
  berth network set lan --label zone=a --selector zone=a
  berth network set db --address 10.1.1.1/24`,
  args: [{ name: 'network', description: 'which one', required: true, kind: 'network' }],
  flags: [
    ...HOSTS,
    { spec: '--all-hosts', description: 'on all hosts, those that come later too' },
    {
      spec: '--address <cidr>',
      description: 'what hosts have in an isolated network instead; none: nothing',
      many: true,
    },
    LABEL,
    { spec: '--unlabel <key>', description: 'take this label away', many: true },
    NO_WAIT,
  ],
  run: (ctx, [network = ''], flags) => {
    const request = updateRequest(network, flags);
    return runMany(ctx, {
      ...{ noun: 'network', names: [network], wait: flags['wait'] !== false },
      start: async (api) => ({ jobId: (await api.call(api.networks, (c) => c.updateNetwork, request)).jobId }),
      done: async () => 'changed',
    });
  },
};

function updateRequest(network: string, flags: Flags): UpdateNetworkRequest {
  const [names, selector, all] = [hostNames(flags), text(flags, 'selector') ?? '', yes(flags, 'allHosts')];
  const some = names.length > 0 || selector !== '';
  if (all && some) throw invalidArgument('all hosts, or some of them: choose one way');
  const addresses = list(flags, 'address');
  const request = {
    ...{ network, setLabels: labels(flags), removeLabels: [...list(flags, 'unlabel')] },
    ...((all || some) && { hosts: { hosts: names, selector } }),
    ...(addresses.length > 0 && { addresses: { addresses: addresses.filter((a) => a !== 'none') } }),
  };
  const labelled = Object.keys(request.setLabels).length > 0 || request.removeLabels.length > 0;
  if (!labelled && !all && !some && addresses.length === 0)
    throw invalidArgument('what is to be set? --label, --unlabel, --host, --selector, --all-hosts or --address');
  return UpdateNetworkRequest.fromPartial(request);
}

export const networkDelete: Command = {
  noun: 'network',
  verb: 'delete',
  summary: 'delete networks that no VM is in; bridges that Berth did not make stay',
  args: [{ name: 'networks', description: 'networks to delete', required: true, many: true, kind: 'network' }],
  flags: [NO_WAIT],
  run: (ctx, names, flags) =>
    runMany(ctx, {
      ...{ noun: 'network', names, wait: flags['wait'] !== false },
      start: async (api, network) => ({
        jobId: (await api.call(api.networks, (c) => c.deleteNetwork, { network })).jobId,
      }),
      done: async () => 'deleted',
    }),
};
