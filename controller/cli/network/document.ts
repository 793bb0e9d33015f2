/** A network as a document that people keep and give back. */
import type { Network } from '@berth/proto/v1/network.ts';

export const networkDocument = (n: Network): object => ({
  ...{ kind: 'network', name: n.name },
  ...(Object.keys(n.labels).length > 0 && { labels: n.labels }),
  spec: {
    ...{ kind: n.kind, bridge: n.bridge },
    ...(n.addresses.length > 0 && { addresses: n.addresses }),
    ...(n.dhcpRange !== '' && { dhcpRange: n.dhcpRange }),
    ...(n.stp && { stp: true }),
    ...(n.delaySeconds > 0 && { delaySeconds: n.delaySeconds }),
    ...(n.hosts.length > 0 && { hosts: n.hosts }),
    ...(n.selector !== '' && { selector: n.selector }),
  },
});
