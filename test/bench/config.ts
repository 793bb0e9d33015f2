/**
 * What a person may choose of the bench: BENCH_IMAGE_MIB=100,4096 are the sizes of images for the topic instant, BENCH_SHORT=1 is a
 * shorter look where a topic has one.
 */
export function instantSizes(): readonly number[] {
  const said = process.env['BENCH_IMAGE_MIB'] ?? '100,1024';
  const sizes = said.split(',').map(Number);
  if (sizes.some((n) => !Number.isInteger(n) || n < 1))
    throw new Error(`BENCH_IMAGE_MIB=${said}: numbers of MiB, by commas`);
  return sizes;
}

export const isShort = (): boolean => process.env['BENCH_SHORT'] === '1';
