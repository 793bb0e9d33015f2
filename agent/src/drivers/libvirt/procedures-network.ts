/** The procedures of the remote program for virtual networks. A table, no code. */
import { procedure } from './procedures.ts';
import { network } from './types.ts';
import { array, int, nothing, string, struct, uint } from './xdr.ts';

const ofNetwork = struct({ net: network });

/** libvirt looks a network up by its uuid; the name serves its messages. */
export const networkRef = (uuid: string, name = uuid) => ({ name, uuid });

export const NETWORK = {
  list: procedure(
    'CONNECT_LIST_ALL_NETWORKS',
    283,
    struct({ needResults: int, flags: uint }),
    struct({ networks: array(network, 16_384), count: uint }),
  ),
  define: procedure('NETWORK_DEFINE_XML', 41, struct({ xml: string }), ofNetwork),
  create: procedure('NETWORK_CREATE', 39, ofNetwork, nothing),
  destroy: procedure('NETWORK_DESTROY', 42, ofNetwork, nothing),
  undefine: procedure('NETWORK_UNDEFINE', 49, ofNetwork, nothing),
  xml: procedure('NETWORK_GET_XML_DESC', 43, struct({ net: network, flags: uint }), struct({ xml: string })),
  isActive: procedure('NETWORK_IS_ACTIVE', 152, ofNetwork, struct({ active: int })),
  setAutostart: procedure('NETWORK_SET_AUTOSTART', 48, struct({ net: network, autostart: int }), nothing),
} as const;
