/** What is asked of a host about its storage pools. Types only; grpc-pool-client.ts asks. */
import type { PoolSource } from '@berth/shared/model/pool.ts';

export interface PoolWanted {
  readonly poolId: string;
  readonly name: string;
  readonly source: PoolSource;
  readonly shared: boolean;
  readonly autostart: boolean;
  readonly generation: number;
  /** Another host has put its mark there. */
  readonly marked: boolean;
  /** Base64; empty: none. */
  readonly secret: string;
}

/** @typeParam Op how an operation is shown */
export interface PoolClient<Op> {
  ensure(operationId: string, wanted: PoolWanted): Promise<Op>;
  stop(operationId: string, poolId: string): Promise<Op>;
  remove(operationId: string, poolId: string): Promise<Op>;
  refresh(operationId: string, poolId: string): Promise<Op>;
  /** Copies an image of the host into a pool that hosts share. Long. */
  ensureImage(operationId: string, v: { poolId: string; digest: string }): Promise<Op>;
  removeImage(operationId: string, v: { poolId: string; digest: string }): Promise<Op>;
}
