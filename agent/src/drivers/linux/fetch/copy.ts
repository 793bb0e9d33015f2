/**
 * The half-filled copy of one image: a qcow2 whose header names a backing file as long as data is missing. Makes it, tells
 * how far it is, removes it. Its allocated clusters are the checkpoint of a fetch.
 */
import { chown, readFile, rename, rm, stat } from 'node:fs/promises';
import * as z from 'zod';
import { writeAtomic } from '../disks/files.ts';
import type { Exec } from '../exec.ts';

export type CopyState = 'absent' | 'filling' | 'filled';

export interface CopySpec {
  readonly path: string;
  readonly virtualSizeBytes: number;
  readonly sourceSocket: string;
}

const Info = z.object({ 'virtual-size': z.number(), 'full-backing-filename': z.string().optional() });

/** What is there. Unreadable, or of another size: `absent`. Call it while no daemon has the file. */
export async function copyState(spec: CopySpec, exec: Exec): Promise<CopyState> {
  if (!(await stat(spec.path).catch(() => undefined))) return 'absent';
  // opening it never opens what the header names as backing; `info` reads that name only
  const args = ['info', '--output=json', '-f', 'qcow2', spec.path];
  const { stdout, exitCode } = await exec.run('qemu-img', args, { okCodes: [1], what: `reading ${spec.path}` });
  if (exitCode !== 0) return 'absent';
  const info = Info.safeParse(JSON.parse(stdout));
  if (!info.success || info.data['virtual-size'] !== spec.virtualSizeBytes) return 'absent';
  return info.data['full-backing-filename'] === undefined ? 'filled' : 'filling';
}

/** Makes an empty copy, whole or not at all. @param owner who fills it. */
export async function makeCopy(spec: CopySpec, exec: Exec, owner: { uid: number; gid: number }): Promise<void> {
  const half = `${spec.path}.new`;
  await rm(half, { force: true });
  try {
    const backing = `nbd+unix:///?socket=${spec.sourceSocket}`;
    const args = ['create', '-q', '-f', 'qcow2', '-u', '-b', backing, '-F', 'raw', half, String(spec.virtualSizeBytes)];
    await exec.run('qemu-img', args, { what: `making ${half}` });
    await chown(half, owner.uid, owner.gid);
    await rename(half, spec.path);
  } finally {
    await rm(half, { force: true });
  }
}

const bootPath = (copyPath: string): string => `${copyPath}.boot`;

/**
 * In which boot of the host it was begun. After another one, what a power cut left of it may be anything: clusters that were noted
 * and never written. It says so before there is a copy.
 */
export async function noteBoot(copyPath: string, bootId: string): Promise<void> {
  await writeAtomic(bootPath(copyPath), bootId, 0o600);
}

export async function isOfBoot(copyPath: string, bootId: string): Promise<boolean> {
  return (await readFile(bootPath(copyPath), 'utf8').catch(() => '')) === bootId;
}

/** Cuts the source off, so that what has not arrived is zeros: call it when all that is not zeros has. */
export async function finishCopy(spec: CopySpec, exec: Exec): Promise<void> {
  // writes the header only; as the user that filled it, because a helper that speaks with strangers wrote the file
  const args = ['rebase', '-q', '-u', '-f', 'qcow2', '-b', '', spec.path];
  await exec.runConfined('qemu-img', args, { what: `finishing ${spec.path}` });
}

export async function removeCopy(path: string): Promise<void> {
  await rm(path, { force: true });
  await rm(`${path}.new`, { force: true });
  await rm(bootPath(path), { force: true });
}
