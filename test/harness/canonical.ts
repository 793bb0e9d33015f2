/** Makes two snapshots comparable that differ only in ids made on the way: ids, UUIDs and MAC addresses are numbered. */
const RANDOM =
  /\b[a-z]+-[0-9a-hjkmnp-tv-z]{21}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b/g;

/** Times are left out: a wait more or less is no difference. */
const isTime = (key: string): boolean => key.endsWith('AtMs');

export function canonical(snapshot: unknown): unknown {
  const names = new Map<string, string>();
  const rename = (s: string): string =>
    s.replace(RANDOM, (id) => {
      const known = names.get(id);
      if (known) return known;
      const name = `${id.includes(':') ? 'mac' : id.split('-')[0]!.length === 8 && id.length === 36 ? 'uuid' : id.split('-')[0]}#${names.size}`;
      names.set(id, name);
      return name;
    });
  const walk = (v: unknown): unknown => {
    if (typeof v === 'string') return rename(v);
    if (Array.isArray(v)) return v.map(walk);
    if (v instanceof Map) return walk(Object.fromEntries(v));
    if (v instanceof Set) return walk([...v].sort());
    if (typeof v !== 'object' || v === null) return v;
    const entries = Object.entries(v).filter(([k, x]) => !isTime(k) && x !== undefined);
    entries.sort(([a], [b]) => (a < b ? -1 : 1));
    return Object.fromEntries(entries.map(([k, x]) => [rename(k), walk(x)]));
  };
  return walk(snapshot);
}
