/** Reads what planners want to see of a mounted guest, and no more of it. Whatever lies there: nothing is opened that could block. */
import type { GuestEntries, GuestEntry, Look } from '../../guest-disks.ts';
import { quote, type Guestfish } from './guestfish.ts';

const MAX_TEXT_BYTES = 256 * 1024;
const MAX_MATCHES = 200;

export async function readGuest(fish: Guestfish, looks: readonly Look[]): Promise<GuestEntries> {
  const entries = new Map<string, GuestEntry>();
  for (const { path, text = false } of looks)
    for (const p of await matches(fish, path)) {
      const entry = await look(fish, p, text);
      if (entry) entries.set(p, entry);
    }
  return entries;
}

async function matches(fish: Guestfish, path: string): Promise<readonly string[]> {
  if (!path.includes('*')) return [path];
  const all = await fish.lines(`-glob-expand ${quote(path)} directoryslash:false`);
  // names that are no plain text are nothing that any system of a guest reads
  return all.filter((p) => /^\/[\x20-\x7e]+$/.test(p)).slice(0, MAX_MATCHES);
}

async function look(fish: Guestfish, path: string, text: boolean): Promise<GuestEntry | undefined> {
  const seen = await stat(fish, 'lstatns', path);
  if (seen?.kind === 'file') return { kind: 'file', text: text ? await read(fish, path, seen.size) : undefined };
  if (seen?.kind !== 'link') return seen && { kind: seen.kind };
  const [target = ''] = await fish.lines(`-readlink ${quote(path)}`);
  const end = text ? await stat(fish, 'statns', path) : undefined;
  return { kind: 'link', target, text: end?.kind === 'file' ? await read(fish, path, end.size) : undefined };
}

const KINDS: Readonly<Record<number, 'file' | 'dir' | 'link'>> = {
  0o100000: 'file',
  0o040000: 'dir',
  0o120000: 'link',
};

type Seen = { readonly kind: GuestEntry['kind']; readonly size: number };

async function stat(fish: Guestfish, command: 'statns' | 'lstatns', path: string): Promise<Seen | undefined> {
  const text = (await fish.ask(`-${command} ${quote(path)}`)).toString('latin1');
  const mode = /^st_mode: (\d+)$/m.exec(text)?.[1];
  if (mode === undefined) return undefined;
  return { kind: KINDS[Number(mode) & 0o170000] ?? 'other', size: Number(/^st_size: (\d+)$/m.exec(text)?.[1] ?? 0) };
}

/** Undefined for what is too large, or no text: it could not be written back as it was. */
async function read(fish: Guestfish, path: string, size: number): Promise<string | undefined> {
  if (size > MAX_TEXT_BYTES) return undefined;
  if (size === 0) return '';
  const bytes = await fish.ask(`-pread ${quote(path)} ${size} 0`);
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    return text.includes('\0') ? undefined : text;
  } catch {
    return undefined;
  }
}
