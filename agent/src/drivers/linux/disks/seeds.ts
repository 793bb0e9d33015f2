/** NoCloud seeds: small ISO 9660 files with the label cidata, from which a guest learns its name. What is in them is the caller's. */
import { createHash } from 'node:crypto';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isoImage } from '@berth/shared/disk/iso9660.ts';
import { alreadyExists, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { SeedSpec } from '../../disks.ts';
import { sizeOf, syncDir, syncFile, tellingFull } from './files.ts';
import type { Pool } from './pool.ts';
import { readSidecar, removeSidecar, writeSidecar } from './sidecars.ts';

const FILE_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const MAX_BYTES = 2 ** 20;
/** By which cloud-init knows a NoCloud seed. */
const LABEL = 'cidata';

/** Twice is once; with another owner or content: ALREADY_EXISTS. The caller holds the volume's lock. */
export async function ensureSeed({ pool }: { pool: Pool }, spec: SeedSpec): Promise<void> {
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
    await tellingFull('the seed', pool.volumesDir, () => build(pool, spec, path));
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

async function build(pool: Pool, spec: SeedSpec, path: string): Promise<void> {
  const half = join(pool.volumesDir, `.${spec.volumeId}.half`);
  try {
    // it may hold secrets; libvirt gives it to QEMU's user when the VM starts
    await writeFile(half, isoImage(spec.files, LABEL), { mode: 0o600 });
    await syncFile(half);
    await rename(half, path);
    await syncDir(pool.volumesDir);
  } finally {
    await rm(half, { force: true });
  }
}
