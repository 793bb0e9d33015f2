/**
 * Finding out which CA a server really has before anything secret is sent: the server presents its whole chain, and the
 * CA in it must have the pinned public key.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { connect, type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import { ClusterError } from '../errors/cluster-error.ts';

/** SHA-256 (hex) of a certificate's subjectPublicKeyInfo. */
export function publicKeyPin(certificatePem: string): string {
  const key = new X509Certificate(certificatePem).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(key).digest('hex');
}

/** PEM of the pinned CA, as presented by `address` (host:port). PERMISSION_DENIED when another CA answers. */
export async function fetchPinnedCa(address: string, caPin: string, timeoutMs = 10_000): Promise<string> {
  const cut = address.lastIndexOf(':');
  const socket = connect({
    host: address.slice(0, cut),
    port: Number(address.slice(cut + 1)),
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2'],
  });
  try {
    await connected(socket, address, timeoutMs);
    const ca = chainOf(socket.getPeerCertificate(true))
      .map(toPem)
      .find((pem) => publicKeyPin(pem) === caPin);
    if (ca === undefined)
      throw new ClusterError(
        'PERMISSION_DENIED',
        `the controller at ${address} is not the one this token is for (its CA has another key)`,
      );
    return ca;
  } finally {
    socket.destroy();
  }
}

function connected(socket: TLSSocket, address: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (e: Error) =>
      reject(
        new ClusterError(
          'CONTROLLER_UNREACHABLE',
          `no controller answers at ${address} (${e.message})`,
          {},
          { cause: e },
        ),
      );
    socket.setTimeout(timeoutMs, () => fail(new Error(`no TLS handshake within ${timeoutMs / 1000} s`)));
    socket.once('secureConnect', resolve).once('error', fail);
  });
}

function chainOf(leaf: DetailedPeerCertificate): DetailedPeerCertificate[] {
  const chain: DetailedPeerCertificate[] = [];
  for (
    let c: DetailedPeerCertificate | undefined = leaf;
    c?.raw && chain.length < 8;
    c = c.issuerCertificate === c ? undefined : c.issuerCertificate
  ) {
    if (chain.some((seen) => seen.raw.equals((c as DetailedPeerCertificate).raw))) break;
    chain.push(c);
  }
  return chain;
}

const toPem = (c: DetailedPeerCertificate): string => new X509Certificate(c.raw).toString();
