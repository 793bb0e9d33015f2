/** Hosts that may be told what shall be there, and what each has of it: looked at once for all networks, or for all pools. Reads only. */
import type { Host } from '@berth/shared/model/host.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Tables } from '../state/state.ts';

export interface Ready {
  readonly host: Host;
  /** Of what is there, by its id. */
  readonly generations: ReadonlyMap<string, number>;
}

interface Made {
  readonly id: string;
  readonly generation: number;
}

/** In the order of their names. @param seen undefined: nothing is to be told to that host now */
export function readyHosts(
  tables: Pick<Tables, 'hosts' | 'reviews'>,
  seen: (hostId: HostId) => readonly Made[] | undefined,
): readonly Ready[] {
  const ready: Ready[] = [];
  for (const host of tables.hosts.values()) {
    const there = tables.reviews.get(host.id) === undefined ? seen(host.id) : undefined;
    if (there) ready.push({ host, generations: new Map(there.map((s) => [s.id, s.generation])) });
  }
  return ready.sort((a, b) => (a.host.name < b.host.name ? -1 : 1));
}

/** What a host makes again by itself, once told, is its own business. */
export const lacks = ({ generations }: Ready, { id, generation }: Made): boolean =>
  (generations.get(id) ?? -1) < generation;
