/** What a person may choose of the bench: BENCH_IMAGE_MIB=100,4096 are the sizes of images for the topic instant. */
export function instantSizes(): readonly number[] {
  const said = process.env['BENCH_IMAGE_MIB'] ?? '100,1024';
  const sizes = said.split(',').map(Number);
  if (sizes.some((n) => !Number.isInteger(n) || n < 1))
    throw new Error(`BENCH_IMAGE_MIB=${said}: numbers of MiB, by commas`);
  return sizes;
}
