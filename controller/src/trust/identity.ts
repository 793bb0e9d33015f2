/**
 * The controller's identity on disk: installation, CA, its own certificate. Made once by init.ts, loaded at each start,
 * and renewed then when less than a third of the certificate's life is left.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import { publicKeyPin } from '@berth/shared/trust/pin.ts';
import { openAuthority, type Authority, type KeyAndCertificate } from './authority.ts';

export interface Identity {
  readonly installationId: string;
  /** host:port under which the controller was told it can be reached; the first goes into tokens. */
  readonly addresses: readonly string[];
  readonly caPem: string;
  /** SHA-256 (hex) of the CA's public key. */
  readonly caPin: string;
  /** Leaf first, then the CA: peers that only know the pin need the CA in the handshake. */
  readonly chainPem: string;
  readonly keyPem: string;
  readonly authority: Authority;
}

const Installation = z.strictObject({ installationId: z.string().min(1), addresses: z.array(z.string()).min(1) });
export type Installation = z.infer<typeof Installation>;

export const paths = (dataDir: string) => ({
  /** Written last by init: with it the installation is whole. */
  marker: join(dataDir, 'installation.json'),
  database: join(dataDir, 'berth.db'),
  auditHead: join(dataDir, 'audit-head'),
  lastSeen: join(dataDir, 'last-seen.json'),
  runs: join(dataDir, 'runs.json'),
  caKey: join(dataDir, 'trust', 'ca-key.pem'),
  caCertificate: join(dataDir, 'trust', 'ca.pem'),
  key: join(dataDir, 'trust', 'controller-key.pem'),
  certificate: join(dataDir, 'trust', 'controller.pem'),
  adminToken: join(dataDir, 'admin-token'),
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

export function writeController(dataDir: string, c: KeyAndCertificate): void {
  const at = paths(dataDir);
  writeSecretFile(at.key, c.keyPem);
  writeSecretFile(at.certificate, c.certificatePem);
}

/** BAD_STATE, with what to do, when the directory holds no installation. */
export async function loadIdentity(dataDir: string, nowMs: number): Promise<Identity> {
  const installation = readInstallation(dataDir);
  const at = paths(dataDir);
  const caPem = readFileSync(at.caCertificate, 'utf8');
  const authority = await openAuthority({ keyPem: readFileSync(at.caKey, 'utf8'), certificatePem: caPem });
  const own = await currentCertificate(dataDir, installation, authority, nowMs);
  return {
    ...installation,
    caPem,
    caPin: publicKeyPin(caPem),
    chainPem: own.certificatePem + caPem,
    keyPem: own.keyPem,
    authority,
  };
}

export function readInstallation(dataDir: string): Installation {
  let text: string;
  try {
    text = readFileSync(paths(dataDir).marker, 'utf8');
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'ENOENT') throw e;
    throw badState(`${dataDir} holds no installation. Make one: berth-controller init --data-dir ${dataDir}`);
  }
  try {
    return Installation.parse(JSON.parse(text));
  } catch (e) {
    throw badState(`${paths(dataDir).marker} is damaged: put it back from a backup`, {}, e);
  }
}

async function currentCertificate(dataDir: string, i: Installation, authority: Authority, nowMs: number) {
  const at = paths(dataDir);
  const own = { keyPem: readFileSync(at.key, 'utf8'), certificatePem: readFileSync(at.certificate, 'utf8') };
  if (!needsRenewal(own.certificatePem, nowMs) && keyMatches(own)) return own;
  const renewed = await authority.signController(i.installationId, i.addresses, nowMs);
  writeController(dataDir, renewed);
  return renewed;
}

function needsRenewal(certificatePem: string, nowMs: number): boolean {
  const certificate = new X509Certificate(certificatePem);
  const from = Date.parse(certificate.validFrom);
  const to = Date.parse(certificate.validTo);
  return to - nowMs < (to - from) / 3;
}

/** False after a crash between the two files of a renewal. */
function keyMatches(own: KeyAndCertificate): boolean {
  return new X509Certificate(own.certificatePem).checkPrivateKey(createPrivateKey(own.keyPem));
}
