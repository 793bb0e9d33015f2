/**
 * What a person may choose of the bench: BENCH_IMAGE_MIB=100,4096 are the sizes of images for the topic instant, BENCH_SHORT=1 is a
 * shorter look where a topic has one, BENCH_SCRAPE_SECONDS=15 is how often the topic scrape asks.
 */
export function instantSizes(): readonly number[] {
  const said = process.env['BENCH_IMAGE_MIB'] ?? '100,1024';
  const sizes = said.split(',').map(Number);
  if (sizes.some((n) => !Number.isInteger(n) || n < 1))
    throw new Error(`BENCH_IMAGE_MIB=${said}: numbers of MiB, by commas`);
  return sizes;
}

/** @param usual where nothing is said. */
export function scrapeSeconds(usual: number): number {
  const said = process.env['BENCH_SCRAPE_SECONDS'];
  const seconds = said === undefined ? usual : Number(said);
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > 300)
    throw new Error(`BENCH_SCRAPE_SECONDS=${said}: a number of seconds up to 300`);
  return seconds;
}

export const isShort = (): boolean => process.env['BENCH_SHORT'] === '1';
