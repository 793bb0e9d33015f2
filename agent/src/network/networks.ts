/** The operations behind NetworkService: checks and turns over the bridge driver. */
import { isIP } from 'node:net';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Bridge } from '@berth/shared/model/host.ts';
import type { Bridges } from '../drivers/machine.ts';
import { checkInterface } from '../ids.ts';
import type { OperationKind } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';

export interface BridgeWanted {
  readonly name: string;
  /** CIDR. */
  readonly addresses: readonly string[];
}

export function checkBridge(w: BridgeWanted): BridgeWanted {
  checkInterface('bridge', w.name);
  for (const address of w.addresses) {
    const [ip = '', bits = '', more] = address.split('/');
    const width = isIP(ip) === 6 ? 128 : 32;
    if (isIP(ip) === 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > width || more !== undefined)
      throw invalidArgument(
        `bridge ${w.name}: ${JSON.stringify(address.slice(0, 60))} is not an address with a prefix, like 10.0.0.1/24`,
      );
  }
  return w;
}

export class Networks {
  readonly ensure: OperationKind<BridgeWanted>;
  readonly remove: OperationKind<string>;

  constructor(
    private readonly bridges: Bridges,
    operations: Operations,
  ) {
    this.ensure = operations.define<BridgeWanted>({
      name: 'bridge.ensure',
      lockKey: (w) => `bridge/${w.name}`,
      run: (w) => bridges.ensure(w.name, w.addresses),
    });
    this.remove = operations.define<string>({
      name: 'bridge.remove',
      lockKey: (name) => `bridge/${name}`,
      run: (name) => bridges.remove(name),
    });
  }

  list(): Promise<readonly Bridge[]> {
    return this.bridges.list();
  }
}
