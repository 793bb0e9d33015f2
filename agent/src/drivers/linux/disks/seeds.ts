/** NoCloud seeds: small ISO 9660 files with the label cidata, from which a guest learns its name. What is in them is the caller's. */
import { createHash } from 'node:crypto';
import { chmod, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { alreadyExists, invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { SeedSpec } from '../../disks.ts';
import type { Exec } from '../exec.ts';
import { sizeOf, syncDir, syncFile, tellingFull } from './files.ts';
import type { Pool } from './pool.ts';
import { readSidecar, removeSidecar, writeSidecar } from './sidecars.ts';

const FILE_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const MAX_BYTES = 2 ** 20;

/** Twice is once; with another owner or content: ALREADY_EXISTS. The caller holds the volume's lock. */
export async function ensureSeed(parts: { pool: Pool; exec: Exec }, spec: SeedSpec): Promise<void> {
  const { pool } = parts;
  check(spec);
  const path = pool.volumePath(spec.volumeId, true);
  const contentDigest = digestOf(spec);
  const there = await readSidecar(pool, spec.volumeId);
  if (there && (!there.seed || there.vmId !== spec.vmId || there.contentDigest !== contentDigest))
    throw alreadyExists(`seed ${spec.volumeId} exists already, for another vm or with another content`, {
      volumeId: spec.volumeId,
    });
  if (there && (await sizeOf(path))) return;
  const { volumeId, vmId } = spec;
  await writeSidecar(pool, { version: 1, volumeId, vmId, seed: true, sizeBytes: 0, contentDigest });
  try {
    await tellingFull('the seed', pool.volumesDir, () => build(parts, spec, path));
  } catch (e) {
    await removeSidecar(pool, volumeId);
    throw e;
  }
}

function check(spec: SeedSpec): void {
  for (const name of Object.keys(spec.files))
    if (!FILE_NAME.test(name))
      throw invalidArgument(`${JSON.stringify(name.slice(0, 80))} is no name for a file of a seed`);
  const bytes = Object.values(spec.files).reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  if (bytes > MAX_BYTES) throw invalidArgument(`a seed of ${bytes} bytes is too large; at most ${MAX_BYTES}`);
}

const digestOf = (spec: SeedSpec): string =>
  createHash('sha256')
    .update(JSON.stringify(Object.entries(spec.files).sort(([a], [b]) => (a < b ? -1 : 1))))
    .digest('hex');

async function build({ pool, exec }: { pool: Pool; exec: Exec }, spec: SeedSpec, path: string): Promise<void> {
  const dir = pool.stagingPath(`seed-${spec.volumeId}`);
  const half = join(pool.volumesDir, `.${spec.volumeId}.half`);
  try {
    await rm(dir, { recursive: true, force: true });
    await mkdir(dir, { mode: 0o700 });
    for (const [name, text] of Object.entries(spec.files)) await writeFile(join(dir, name), text, { mode: 0o600 });
    await makeIso(exec, dir, half, spec.volumeId);
    // it may hold secrets; libvirt gives it to QEMU's user when the VM starts
    await chmod(half, 0o600);
    await syncFile(half);
    await rename(half, path);
    await syncDir(pool.volumesDir);
  } finally {
    await rm(dir, { recursive: true, force: true });
    await rm(half, { force: true });
  }
}

/** With genisoimage, or where that is missing with xorriso. */
async function makeIso(exec: Exec, dir: string, target: string, volumeId: string): Promise<void> {
  const args = ['-quiet', '-output', target, '-volid', 'cidata', '-joliet', '-rational-rock', dir];
  const what = `making seed ${volumeId}`;
  try {
    await exec.run('genisoimage', args, { what });
  } catch (missing) {
    if (!isClusterError(missing, 'UNSUPPORTED')) throw missing;
    await exec.run('xorriso', ['-as', 'mkisofs', ...args], { what }).catch((e: unknown) => {
      throw isClusterError(e, 'UNSUPPORTED') ? missing : e;
    });
  }
}
