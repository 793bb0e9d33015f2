/**
 * CAs and the controller's own key on disk: one file, `trust/trust.json`, replaced as a whole, so that no crash leaves a
 * key without its certificate or half a rotation. `trust/ca.pem` is written beside it for other tools to read; nothing
 * reads it back. What the file means is identity.ts's.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import * as z from 'zod';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { KeyAndCertificate } from './authority.ts';

const Pair = z.strictObject({ keyPem: z.string().min(1), certificatePem: z.string().min(1) });
/** `next` is there while a rotation is under way, and is trusted like `active`. */
const CaSet = z.strictObject({ active: Pair, next: Pair.optional() });

const Stored = z.strictObject({
  version: z.literal(1),
  control: CaSet,
  transfer: CaSet,
  /** The controller's own, signed by the active control CA. */
  controller: Pair,
  rotation: z
    .strictObject({ id: z.string(), issuing: z.enum(['active', 'next']), hurried: z.boolean().optional() })
    .optional(),
  /** CAs that were replaced: client certificates that they signed are good still. Without keys. */
  retired: z.array(z.string().min(1)).optional(),
  /** The last rotation that was finished; asked to finish it again, nothing happens. */
  finishedRotation: z.string().optional(),
});
export type StoredTrust = Readonly<z.infer<typeof Stored>>;

export const trustPaths = (dataDir: string) => ({
  trust: join(dataDir, 'trust', 'trust.json'),
  caCertificate: join(dataDir, 'trust', 'ca.pem'),
  legacyCaKey: join(dataDir, 'trust', 'ca-key.pem'),
  legacyKey: join(dataDir, 'trust', 'controller-key.pem'),
  legacyCertificate: join(dataDir, 'trust', 'controller.pem'),
});

/** Whole or not at all, on disk when it returns, readable by nobody else. */
export function writeSecretFile(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fd = openSync(`${path}.new`, 'w', 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(`${path}.new`, path);
  const dir = openSync(dirname(path), 'r');
  fsyncSync(dir);
  closeSync(dir);
}

export function saveTrust(dataDir: string, stored: StoredTrust): void {
  const at = trustPaths(dataDir);
  writeSecretFile(at.trust, `${JSON.stringify(stored, undefined, 2)}\n`);
  writeSecretFile(
    at.caCertificate,
    [stored.control.active, stored.control.next].map((c) => c?.certificatePem ?? '').join(''),
  );
  for (const old of [at.legacyCaKey, at.legacyKey, at.legacyCertificate]) rmSync(old, { force: true });
}

/** Undefined: a directory of an older controller, which had one CA; see loadLegacy. BAD_STATE when it is damaged. */
export function loadTrust(dataDir: string): StoredTrust | undefined {
  const { trust } = trustPaths(dataDir);
  if (!existsSync(trust)) return undefined;
  try {
    return Stored.parse(JSON.parse(readFileSync(trust, 'utf8')));
  } catch (e) {
    throw badState(`${trust} is damaged: put it back from a backup`, {}, e);
  }
}

/** The one CA of a controller before 0.1. Its own certificate is not read: a new one is made. */
export function loadLegacyCa(dataDir: string): KeyAndCertificate {
  const at = trustPaths(dataDir);
  try {
    return { keyPem: readFileSync(at.legacyCaKey, 'utf8'), certificatePem: readFileSync(at.caCertificate, 'utf8') };
  } catch (e) {
    throw badState(`the CA in ${dirname(at.trust)} cannot be read: put it back from a backup`, {}, e);
  }
}
