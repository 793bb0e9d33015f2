/** A guest as it was found on its disk: questions that the planners ask of it. Pure. */
import type { Change, GuestEntries, GuestEntry, Owner } from '../drivers/guest-disks.ts';

const SYSTEMD = ['/usr/lib/systemd/systemd', '/lib/systemd/systemd'];
const UNIT_DIRS = ['/etc/systemd/system', '/usr/lib/systemd/system', '/lib/systemd/system'];

export class Guest {
  readonly os: Readonly<Record<string, string>>;

  constructor(readonly entries: GuestEntries) {
    this.os = shellVariables(this.text('/etc/os-release') ?? this.text('/usr/lib/os-release') ?? '');
  }

  /** `Debian GNU/Linux 12 (bookworm)` */
  get title(): string {
    const old = this.text('/etc/redhat-release')?.trim();
    return printable(this.os['PRETTY_NAME'] ?? old ?? 'a guest of an unknown kind');
  }

  get systemd(): boolean {
    return SYSTEMD.some((p) => this.has(p));
  }

  /** Of what it says it is, or is like. */
  is(id: string): boolean {
    return [this.os['ID'], ...(this.os['ID_LIKE'] ?? '').split(' ')].includes(id);
  }

  has(...paths: readonly string[]): boolean {
    return paths.some((p) => this.entries.has(p));
  }

  hasUnit(name: string): boolean {
    return UNIT_DIRS.some((dir) => this.has(`${dir}/${name}`));
  }

  entry(path: string): GuestEntry | undefined {
    return this.entries.get(path);
  }

  /** Of a file, or of what a link leads to. */
  text(path: string): string | undefined {
    const e = this.entries.get(path);
    return e?.kind === 'file' || e?.kind === 'link' ? e.text : undefined;
  }

  /** As it is when these have been made. */
  after(changes: readonly Change[]): Guest {
    const entries = new Map(this.entries);
    for (const c of changes) {
      if (c.kind === 'write') entries.set(c.path, { kind: 'file', text: c.text });
      else if (c.kind === 'link') entries.set(c.path, { kind: 'link', target: c.target, text: undefined });
      else if (c.kind === 'folder') entries.set(c.path, { kind: 'dir' });
      else for (const path of this.entries.keys()) if (covers(c.path, path)) entries.delete(path);
    }
    return new Guest(entries);
  }

  /** Paths that match, sorted. */
  paths(pattern: RegExp): string[] {
    return [...this.entries.keys()].filter((p) => pattern.test(p)).sort();
  }
}

/** Whether removing `removed`, which may have `*` in it, takes `path` away too. */
export function covers(removed: string, path: string): boolean {
  const parts = removed.split('*').map((p) => p.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('[^/]*')}(/.*)?$`).test(path);
}

/** What is to be done, in order, and what of it people are told. */
export interface Plan {
  readonly changes: readonly Change[];
  readonly words: readonly string[];
}

export const NOTHING: Plan = { changes: [], words: [] };

export const joined = (plans: readonly Plan[]): Plan => ({
  changes: plans.flatMap((p) => p.changes),
  words: plans.flatMap((p) => p.words),
});

export const write = (path: string, text: string, mode?: number, owner?: Owner): Change => ({
  kind: 'write',
  path,
  text,
  ...(mode !== undefined && { mode }),
  ...(owner && { owner }),
});
export const remove = (path: string): Change => ({ kind: 'remove', path });
export const link = (path: string, target: string): Change => ({ kind: 'link', path, target });

/** `A=b`, `A="b c"`, one a line. */
export function shellVariables(text: string): Record<string, string> {
  const all: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const m = /^\s*([A-Za-z_][A-Za-z0-9_]*)=(.*?)\s*$/.exec(line);
    if (m) all[m[1]!] = m[2]!.replace(/^(["'])(.*)\1$/, '$2');
  }
  return all;
}

/** Without what a guest could do to a terminal. */
export const printable = (text: string): string => text.replace(/[^\x20-\x7e]/g, '?').slice(0, 80);

/** The lines of a text, without the empty one after the last newline. */
export const linesOf = (text: string): string[] => (text === '' ? [] : text.replace(/\n$/, '').split('\n'));
export const textOf = (lines: readonly string[]): string => (lines.length === 0 ? '' : `${lines.join('\n')}\n`);
