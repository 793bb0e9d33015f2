/**
 * The installation's own certificate authority: signs the controller and the hosts, and sets every name itself. Keeps its
 * key in memory; identity.ts keeps it on disk.
 */
import { isIP } from 'node:net';
import { controllerUri, hostUri } from '@berth/shared/trust/names.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { CheckedRequest } from './csr.ts';
import { exportKey, importKey, makeCa, makeLeaf, newKeyPair, type Signer } from './x509.ts';

const CA_DAYS = 20 * 365;
const LEAF_DAYS = 365;

export interface Authority {
  readonly caPem: string;
  signHost(request: CheckedRequest, hostId: HostId, nowMs: number): Promise<string>;
  signController(installationId: string, addresses: readonly string[], nowMs: number): Promise<KeyAndCertificate>;
}

export interface KeyAndCertificate {
  readonly keyPem: string;
  readonly certificatePem: string;
}

export async function newAuthority(installationId: string, nowMs: number): Promise<KeyAndCertificate> {
  const keys = await newKeyPair();
  const certificatePem = await makeCa(keys, `Berth CA ${installationId}`, nowMs, CA_DAYS);
  return { keyPem: await exportKey(keys.privateKey), certificatePem };
}

export async function openAuthority(ca: KeyAndCertificate): Promise<Authority> {
  const signer: Signer = { certificatePem: ca.certificatePem, privateKey: await importKey(ca.keyPem) };
  return {
    caPem: ca.certificatePem,
    signHost: (request, hostId, nowMs) =>
      makeLeaf(
        signer,
        request.publicKey,
        { commonName: hostId, uri: hostUri(hostId), dns: [], ip: [] },
        nowMs,
        LEAF_DAYS,
      ),
    async signController(installationId, addresses, nowMs) {
      const keys = await newKeyPair();
      const names = { commonName: 'Berth controller', uri: controllerUri(installationId), ...split(addresses) };
      const certificatePem = await makeLeaf(signer, keys.publicKey, names, nowMs, LEAF_DAYS);
      return { keyPem: await exportKey(keys.privateKey), certificatePem };
    },
  };
}

/** Host names and IP addresses of `host:port` texts, each once, with those of this machine. */
function split(addresses: readonly string[]): { dns: string[]; ip: string[] } {
  const all = new Set(['localhost', '127.0.0.1', '::1', ...addresses.map(hostPart)]);
  return { dns: [...all].filter((n) => isIP(n) === 0), ip: [...all].filter((n) => isIP(n) !== 0) };
}

const hostPart = (address: string): string => address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '');
