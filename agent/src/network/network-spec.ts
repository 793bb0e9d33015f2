/** What this host makes for a logical network, as it comes over the wire. Pure. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { NetworkShape } from '@berth/shared/model/network.ts';
import { checkNetwork } from '@berth/shared/network/check.ts';
import { checkId, checkName } from '../ids.ts';

export interface NetworkSpec {
  readonly networkId: string;
  readonly name: string;
  readonly shape: NetworkShape;
  readonly generation: number;
}

/** @throws INVALID_ARGUMENT, one line per fault */
export function checkNetworkSpec(s: NetworkSpec): NetworkSpec {
  checkId('network', s.networkId);
  checkName('network', s.name);
  if (s.shape.kind === 'bridge') throw invalidArgument(`network ${s.name}: others make its bridge`);
  return { ...s, shape: checkNetwork(`network ${s.name}`, s.shape) };
}
