/** What is asked of a host about logical networks. Types only; grpc-network-client.ts asks. */
import type { NetworkShape } from '@berth/shared/model/network.ts';

export interface NetworkWanted {
  readonly networkId: string;
  readonly name: string;
  readonly shape: NetworkShape;
  readonly generation: number;
}

/** @typeParam Op how an operation is shown */
export interface NetworkClient<Op> {
  ensure(operationId: string, wanted: NetworkWanted): Promise<Op>;
  /** IN_USE while something is plugged into it. */
  remove(operationId: string, networkId: string): Promise<Op>;
}
