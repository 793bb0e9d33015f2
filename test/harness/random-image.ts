/** Images of random bytes, and which hosts have them: for tests of what becomes of images on their way. Not for booting. */
import { createHash, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import type { Cluster } from './cluster.ts';
import { eventually } from './processes.ts';

interface Shown {
  readonly copies: readonly { readonly host: string }[];
}

/** A raw image of so many random bytes, imported on a host. Answers the SHA-256 of what is in it. */
export async function bringRandom(c: Cluster, name: string, bytes: number, host: string): Promise<string> {
  const content = randomBytes(bytes);
  const file = `${c.dir}/${name}.raw`;
  await writeFile(file, content);
  await c.ok('image', 'import', file, '--format', 'raw', '--name', name, '--host', host);
  return createHash('sha256').update(content).digest('hex');
}

/** Names of the hosts that have a copy, in order. */
export async function holdersOf(c: Cluster, image: string): Promise<readonly string[]> {
  return (await c.json<Shown>('image', 'show', image)).copies.map((x) => x.host).sort();
}

/** Until all these have a copy; others may. */
export async function untilHeld(c: Cluster, image: string, hosts: readonly string[], withinMs: number): Promise<void> {
  const haveIt = async (): Promise<boolean> => {
    const there = await holdersOf(c, image);
    return hosts.every((h) => there.includes(h));
  };
  await eventually(`${hosts.join(', ')} have ${image}`, async () => (await haveIt()) || undefined, withinMs);
}
