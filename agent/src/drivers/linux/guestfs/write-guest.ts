/** From changes to guestfish's commands. Pure. */
import type { Change, GuestEntries } from '../../guest-disks.ts';
import { quote } from './guestfish.ts';

/** @param found what is there: a regular file keeps its owner, mode and labels; all else is replaced. */
export function commandsFor(changes: readonly Change[], found: GuestEntries): string[] {
  const files = new Set([...found].filter(([, e]) => e.kind === 'file').map(([path]) => path));
  return changes.flatMap((c) => {
    const path = quote(c.path);
    if (c.kind === 'remove') {
      for (const f of files) if (f === c.path || f.startsWith(`${c.path}/`)) files.delete(f);
      return c.path.includes('*') ? [`-glob rm-rf ${quote(c.path)}`] : [`rm-rf ${path}`];
    }
    if (c.kind === 'folder') return [`mkdir-p ${path}`, ...mode(c), ...owner(c)];
    const above = `mkdir-p ${quote(c.path.replace(/\/[^/]*$/, '') || '/')}`;
    if (c.kind === 'link') return [above, `rm-rf ${path}`, `ln-s ${quote(c.target)} ${path}`];
    const there = files.has(c.path);
    files.add(c.path);
    const made = there ? [] : [above, `rm-f ${path}`];
    return [
      ...made,
      `write ${path} ${quote(c.text)}`,
      ...mode({ path: c.path, mode: c.mode ?? (there ? undefined : 0o644) }),
      ...owner(c),
    ];
  });
}

const mode = ({ path, mode: bits }: { path?: string; mode?: number | undefined }): string[] =>
  bits === undefined || path === undefined ? [] : [`chmod 0${bits.toString(8)} ${quote(path)}`];

const owner = ({ path, owner: o }: { path: string; owner?: { uid: number; gid: number } }): string[] =>
  o === undefined ? [] : [`chown ${o.uid} ${o.gid} ${quote(path)}`];
