/** The operation behind EnsureTuning: a turn over the driver. */
import type { Tuning } from '@berth/shared/model/tuning.ts';
import type { TuningDriver } from '../drivers/machine.ts';
import type { OperationKind } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';

export const defineTuning = (tuning: TuningDriver, operations: Operations): OperationKind<Tuning> =>
  operations.define<Tuning>({
    name: 'host.tune',
    lockKey: () => 'tuning',
    run: (wanted) => tuning.ensure(wanted),
  });
