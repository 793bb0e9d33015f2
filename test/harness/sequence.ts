/**
 * The order of test files. Vitest begins with large files, because it knows nothing better on a fresh checkout; those that mostly
 * wait for time to pass come before, so that they wait beside the others, and then those that take minutes, so that none of them runs
 * alone at the end.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const WAITING = /\/(alarms|certificate(s|-(clocks|expiry|renewal))|frozen)\.test\.ts$/;
const LONG = [
  /\/lab\/(agent-kill|ansible|block-moves|crash|guest-agent|identity|instant|lvm-guests|pools|quickstart|rbd|restore|snapshots|storage|units|volume-moves)\.test\.ts$/,
  /\/integration\/(ansible|fuzz|image-transfer|lying-agent-deeper|packages|quickstart|secrets)\.test\.ts$/,
];

/** What comes sooner has the smaller number. Pure. */
const turn = (file: string): number => (WAITING.test(file) ? 0 : LONG.some((l) => l.test(file)) ? 1 : 2);

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return sorted.sort((a, b) => turn(a.moduleId) - turn(b.moduleId));
  }
}
