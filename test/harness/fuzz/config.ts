/** How much the fuzzing tests do: FUZZ_CASES=n instead of the usual number, FUZZ_SEED=n to have a failure again. */
import { systemRandom } from '@berth/shared/runtime/random.ts';

export function fuzzConfig(usual: number): { readonly cases: number; readonly seed: number } {
  const seed = Number(process.env['FUZZ_SEED'] ?? Math.floor(systemRandom.next() * 2 ** 31));
  return { cases: Number(process.env['FUZZ_CASES'] ?? usual), seed };
}
