/** Which seeds a simulation runs: SIM_SEED=n just that one, SIM_SEEDS=n the first n. */
export function simConfig(usual: number): { readonly seeds: readonly number[] } {
  const only = process.env['SIM_SEED'];
  if (only !== undefined) return { seeds: [Number(only)] };
  const count = Number(process.env['SIM_SEEDS'] ?? usual);
  return { seeds: Array.from({ length: count }, (_, i) => i + 1) };
}
