/**
 * Reads a backup to its last byte and checks all of it: the seal, the SHA-256 of each part, the database, that keys and
 * certificates belong together. Unpacks into a folder that the caller gives, or into one that is gone afterwards.
 */
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { badState, chain, ClusterError, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import { paths, readInstallation } from '../trust/identity.ts';
import { loadLegacyCa, loadTrust } from '../trust/store.ts';
import { ByteReader } from './byte-reader.ts';
import { SEALED_MAGIC, unseal } from './cipher.ts';
import { checkDatabase } from './database-check.ts';
import {
  DATA,
  MANIFEST,
  MAX_MANIFEST_BYTES,
  parseManifest,
  SEAL,
  SEAL_BYTES,
  type Manifest,
  type PartRow,
} from './manifest.ts';
import { readTar } from './tar.ts';

/** @returns what is in it. BAD_STATE, with the file's name, when it is not whole. */
export async function readBackup(file: string, passphrase: string | undefined): Promise<Manifest> {
  const dir = mkdtempSync(join(tmpdir(), 'berth-verify-'));
  try {
    return await unpackBackup(file, passphrase, dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** @param into an empty folder of the caller's: gets all parts, each 0600. What is left in it after an error is the caller's too. */
export async function unpackBackup(file: string, passphrase: string | undefined, into: string): Promise<Manifest> {
  if (!existsSync(file)) throw notFound(`there is no backup ${file}`);
  try {
    const manifest = await unpack(await plainOf(file, passphrase), into);
    checkTogether(manifest, join(into, DATA));
    return manifest;
  } catch (e) {
    throw aboutFile(e, file, into);
  }
}

async function plainOf(file: string, passphrase: string | undefined): Promise<ByteReader> {
  const head = await new ByteReader(createReadStream(file, { end: SEALED_MAGIC.length - 1 })).upTo(SEALED_MAGIC.length);
  const sealed = Buffer.from(head).toString('latin1') === SEALED_MAGIC;
  if (sealed && passphrase === undefined) throw invalidArgument('it is encrypted: give --passphrase-file');
  const bytes = new ByteReader(createReadStream(file));
  return sealed ? new ByteReader(unseal(bytes, passphrase!)) : bytes;
}

async function unpack(reader: ByteReader, into: string): Promise<Manifest> {
  let manifest: Manifest | undefined;
  let sum = '';
  let whole = false;
  const missing = new Map<string, PartRow>();
  await readTar(reader, async (entry, data) => {
    if (manifest === undefined) {
      if (entry.path !== MANIFEST || entry.bytes > MAX_MANIFEST_BYTES)
        throw badState('it is no backup of a controller');
      const told = await text(data);
      sum = createHash('sha256').update(told).digest('hex');
      manifest = parseManifest(told);
      for (const part of manifest.parts) missing.set(part.path, part);
      return;
    }
    if (whole) throw badState('it is longer than it should be');
    if (entry.path === SEAL && entry.bytes === SEAL_BYTES) {
      whole = (await text(data)) === sum;
      if (!whole) throw badState('its manifest was changed');
      return;
    }
    const part = missing.get(entry.path);
    if (part?.bytes !== entry.bytes) throw badState(`${entry.path} is not as its manifest says`);
    missing.delete(entry.path);
    await writePart(part, data, join(into, entry.path));
  });
  if (manifest === undefined) throw badState('it is empty');
  if (missing.size > 0 || !whole) throw badState(`${[...missing.keys(), SEAL][0]} is missing in it`);
  if (!(await reader.atEnd())) throw badState('it is longer than it should be');
  return manifest;
}

async function writePart(part: PartRow, data: AsyncIterable<Uint8Array>, to: string): Promise<void> {
  mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
  const hash = createHash('sha256');
  const file = await open(to, 'wx', 0o600);
  try {
    for await (const chunk of data) {
      hash.update(chunk);
      for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at)).bytesWritten;
    }
    await file.sync();
  } finally {
    await file.close();
  }
  if (hash.digest('hex') !== part.sha256) throw badState(`${part.path} was changed: its SHA-256 is another one`);
}

async function text(data: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of data) parts.push(chunk);
  return Buffer.concat(parts).toString('utf8');
}

/** That its pieces are of one installation, and enough to start a controller with. */
function checkTogether({ database }: Manifest, dataDir: string): void {
  const at = paths(dataDir);
  const facts = checkDatabase(at.database);
  const { installationId } = readInstallation(dataDir);
  if (facts.installationId !== database.installationId || facts.installationId !== installationId)
    throw badState('its parts are of different installations');
  const same = (['schema', 'epoch', 'revision'] as const).every((k) => facts[k] === database[k]);
  if (!same || !sameRows(facts.rows, database.rows))
    throw badState('its database is not the one that its manifest tells of');
  // the controller's own certificate is made anew where it does not fit; the CA can't be
  const trust = loadTrust(dataDir);
  const cas = trust ? [trust.control.active, trust.transfer.active] : [loadLegacyCa(dataDir)];
  for (const ca of cas)
    if (!new X509Certificate(ca.certificatePem).checkPrivateKey(createPrivateKey(ca.keyPem)))
      throw badState('the certificate and the key of its CA do not belong together');
}

const sameRows = (a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>): boolean =>
  Object.keys(a).length === Object.keys(b).length && Object.entries(a).every(([k, v]) => b[k] === v);

function aboutFile(e: unknown, file: string, into: string): unknown {
  const { code } = e as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new ClusterError('DISK_FULL', `no room to unpack ${file} in ${into}`, {}, { cause: e });
  if (e instanceof ClusterError)
    return new ClusterError(e.reason, `backup ${file}: ${e.message}`, e.meta, { cause: e.cause });
  return badState(`backup ${file} cannot be used (${chain(e)})`, {}, e);
}
