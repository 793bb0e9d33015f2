/**
 * Enrolment: a join token becomes a certificate. The CA is checked against the token's pin before the secret is sent, the
 * key is made here and stays here. Twice with the same token is once.
 */
import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { EnrollmentServiceClient, type EnrollRequest, type EnrollResponse } from '@berth/proto/v1/enrollment.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { fromStatus } from '@berth/shared/errors/wire.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { decodeJoinLine, type JoinLine } from '@berth/shared/trust/lines.ts';
import { hostUri, peerName } from '@berth/shared/trust/names.ts';
import { fetchPinnedCa, publicKeyPin } from '@berth/shared/trust/pin.ts';
import { findKey, prepareIdentityDir, saveIdentity, saveKey, type StoredIdentity } from './identity-store.ts';
import { certificateFits, certificateRequest, newKeyPem } from './key.ts';

const DEADLINE_MS = 20_000;
/** The name is checked by `checkServerIdentity`; this only keeps an address out of the TLS server name. */
const OPTIONS = { 'grpc.enable_http_proxy': 0, 'grpc.ssl_target_name_override': 'controller' };

/** @param token the line that `berth host add` printed. Errors are one line. */
export async function enroll(o: { dataDir: string; token: string; clock: Clock }): Promise<StoredIdentity> {
  const line = decodeJoinLine(o.token);
  const caPem = await fetchPinnedCa(line.controller, line.caPin);
  const keyPem = await keyOf(o.dataDir);
  const request = { tokenId: line.tokenId, tokenSecret: line.secret, csrPem: await certificateRequest(keyPem) };
  const answer = await ask(line, caPem, request, o.clock);
  checkAnswer(answer, line, keyPem);
  const identity = {
    hostId: answer.hostId,
    hostName: answer.hostName,
    installationId: answer.installationId,
    certPem: answer.certificatePem,
    caPem: answer.caPem,
  };
  await saveIdentity(o.dataDir, identity);
  return identity;
}

async function keyOf(dataDir: string): Promise<string> {
  await prepareIdentityDir(dataDir);
  const known = await findKey(dataDir);
  if (known !== undefined) return known;
  const made = await newKeyPem();
  await saveKey(dataDir, made);
  return made;
}

/** Over a channel that trusts the pinned CA alone, and only a controller's certificate of it. */
async function ask(line: JoinLine, caPem: string, request: EnrollRequest, clock: Clock): Promise<EnrollResponse> {
  const context = createSecureContext({ ca: caPem, minVersion: 'TLSv1.3' });
  const channel = credentials.createFromSecureContext(context, {
    checkServerIdentity: (_, certificate) =>
      peerName(certificate.subjectaltname)?.kind === 'controller'
        ? undefined
        : new Error('its certificate is not that of a controller'),
  });
  const client = new EnrollmentServiceClient(line.controller, channel, OPTIONS);
  const deadline = clock.now() + DEADLINE_MS;
  try {
    return await new Promise((resolve, reject) => {
      client.enroll(request, new Metadata(), { deadline }, (e: ServiceError | null, answer: EnrollResponse) =>
        e ? reject(fromStatus(e, 'CONTROLLER_UNREACHABLE', `the controller at ${line.controller}`)) : resolve(answer),
      );
    });
  } finally {
    client.close();
  }
}

function checkAnswer(a: EnrollResponse, line: JoinLine, keyPem: string): void {
  const wrong = (what: string): ClusterError =>
    new ClusterError(
      'PERMISSION_DENIED',
      `the controller at ${line.controller} answered with ${what}; nothing was stored`,
    );
  const name = (() => {
    try {
      if (publicKeyPin(a.caPem) !== line.caPin) throw wrong('another CA than the token names');
      if (!certificateFits(a.certificatePem, keyPem, a.caPem))
        throw wrong("a certificate that does not fit this host's key");
      return new X509Certificate(a.certificatePem).subjectAltName;
    } catch (e) {
      throw e instanceof ClusterError ? e : wrong('something that is no certificate');
    }
  })();
  const peer = peerName(name);
  if (peer?.kind !== 'host' || peer.id !== a.hostId)
    throw wrong(`a certificate for another name than ${hostUri(a.hostId)}`);
}
