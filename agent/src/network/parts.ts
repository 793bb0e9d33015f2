/** The parts of an agent that have to do with networks, put together. */
import type { Drivers } from '../drivers/machine.ts';
import { LogicalNetworks, type LogicalNetworksDeps } from './logical-networks.ts';
import { Networks } from './networks.ts';

export interface NetworkPartsFrom extends Pick<LogicalNetworksDeps, 'operations' | 'hostName' | 'clock' | 'log'> {
  readonly drivers: Pick<Drivers, 'bridges' | 'networks'>;
  readonly config: Pick<LogicalNetworksDeps, 'dataDir'>;
}

export function createNetworkParts({ drivers, config, ...from }: NetworkPartsFrom) {
  const { bridges, networks } = drivers;
  return {
    bridges: new Networks(bridges, from.operations),
    logical: new LogicalNetworks({ ...from, bridges, networks, dataDir: config.dataDir }),
  };
}
