/**
 * The order of test files. Vitest begins with large files, because it knows nothing better on a fresh checkout; those that mostly
 * wait for time to pass come before, so that they wait beside the others and not alone at the end.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const WAITING = /\/(alarms|certificate-(clocks|expiry|renewal)|frozen)\.test\.ts$/;
const waits = (file: TestSpecification): boolean => WAITING.test(file.moduleId);

export class WaitingFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return [...sorted.filter(waits), ...sorted.filter((f) => !waits(f))];
  }
}
