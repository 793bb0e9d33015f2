/**
 * A certificate authority of the installation: signs leaves and sets every name itself. There are two, which know nothing
 * of each other: `control` for the controller, its callers and the agents' ports, `transfer` for what hosts do among themselves. Keeps
 * its key in memory; store.ts keeps it on disk.
 */
import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { clientUri, controllerUri, HOST_SERVER_NAME, hostUri, transferUri } from '@berth/shared/trust/names.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { CheckedRequest } from './csr.ts';
import { exportKey, importKey, makeCa, makeLeaf, newKeyPair, type Signer } from './x509.ts';

export type CaPurpose = 'control' | 'transfer';

/** Milliseconds. */
export interface Lifetimes {
  readonly host: number;
  readonly controller: number;
  readonly client: number;
  readonly ca: number;
}

const DAY_MS = 86_400_000;
const YEAR_MS = 365 * DAY_MS;
export const DEFAULT_LIFETIMES: Lifetimes = {
  ...{ host: YEAR_MS, controller: YEAR_MS },
  client: 90 * DAY_MS,
  ca: 20 * YEAR_MS,
};

export interface KeyAndCertificate {
  readonly keyPem: string;
  readonly certificatePem: string;
}

/** Whom a client certificate is for, and until when it may last at most. */
export interface ClientName {
  readonly user: string;
  readonly loginId: string;
  readonly untilMs: number;
}

/** Signs for hosts, with the CA that issues now for each purpose, and for command lines. */
export interface Authority {
  signHost(purpose: CaPurpose, request: CheckedRequest, hostId: HostId, nowMs: number): Promise<string>;
  signClient(request: CheckedRequest, client: ClientName, nowMs: number): Promise<Issued>;
}

export interface Issued {
  readonly certificatePem: string;
  /** The CA that signed it. */
  readonly caPem: string;
}

export async function newAuthority(
  purpose: CaPurpose,
  installationId: string,
  nowMs: number,
  lifetimeMs: number,
): Promise<KeyAndCertificate> {
  const keys = await newKeyPair();
  // the serial-like time keeps the names of successive CAs apart, so that chains are built by the right one
  const made = new Date(nowMs).toISOString().slice(0, 19);
  const name = `Berth ${purpose} CA ${installationId} ${made}`;
  const certificatePem = await makeCa(keys, name, { nowMs, lifetimeMs });
  return { keyPem: await exportKey(keys.privateKey), certificatePem };
}

const URI_OF = { control: hostUri, transfer: transferUri } as const;

export async function signHost(
  ca: KeyAndCertificate,
  purpose: CaPurpose,
  request: CheckedRequest,
  host: { readonly id: HostId; readonly nowMs: number; readonly lifetimeMs: number },
): Promise<string> {
  const dns = purpose === 'control' ? [HOST_SERVER_NAME] : [];
  const names = { commonName: host.id, uri: URI_OF[purpose](host.id), dns, ip: [] };
  return makeLeaf(await signerOf(ca), request.publicKey, names, host);
}

export async function signClient(
  ca: KeyAndCertificate,
  request: CheckedRequest,
  client: ClientName,
  life: { readonly nowMs: number; readonly lifetimeMs: number },
): Promise<string> {
  const names = { commonName: client.user, uri: clientUri(client.loginId), dns: [], ip: [] };
  const lifetimeMs = Math.min(life.lifetimeMs, client.untilMs - life.nowMs);
  return makeLeaf(await signerOf(ca), request.publicKey, names, { nowMs: life.nowMs, lifetimeMs }, 'caller');
}

export async function signController(
  ca: KeyAndCertificate,
  about: { readonly installationId: string; readonly addresses: readonly string[] },
  life: { readonly nowMs: number; readonly lifetimeMs: number },
): Promise<KeyAndCertificate> {
  const keys = await newKeyPair();
  const uri = controllerUri(about.installationId);
  const names = { commonName: 'Berth controller', uri, ...split(about.addresses) };
  const certificatePem = await makeLeaf(await signerOf(ca), keys.publicKey, names, life);
  return { keyPem: await exportKey(keys.privateKey), certificatePem };
}

/** Whether a certificate of the controller is for all addresses that it has. */
export function hasNames(own: X509Certificate, addresses: readonly string[]): boolean {
  const { dns, ip } = split(addresses);
  return dns.every((name) => own.checkHost(name) !== undefined) && ip.every((a) => own.checkIP(a) !== undefined);
}

const signerOf = async (ca: KeyAndCertificate): Promise<Signer> => ({
  certificatePem: ca.certificatePem,
  privateKey: await importKey(ca.keyPem),
});

/** Host names and IP addresses of `host:port` texts, each once, with those of this machine. */
function split(addresses: readonly string[]): { dns: string[]; ip: string[] } {
  const all = new Set(['localhost', '127.0.0.1', '::1', ...addresses.map(hostPart)]);
  return { dns: [...all].filter((n) => isIP(n) === 0), ip: [...all].filter((n) => isIP(n) !== 0) };
}

const hostPart = (address: string): string => address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '');
