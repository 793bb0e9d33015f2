/**
 * Enrolment: a join token becomes certificates. The CA is checked against the token's pin before the secret is sent, the
 * keys are made here and stay here. Twice with the same token is once; a new token gets new keys.
 */
import { createSecureContext } from 'node:tls';
import { credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { EnrollmentServiceClient, type EnrollRequest, type EnrollResponse } from '@berth/proto/v1/enrollment.ts';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { fromStatus } from '@berth/shared/errors/wire.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { decodeJoinLine, type JoinLine } from '@berth/shared/trust/lines.ts';
import { peerName } from '@berth/shared/trust/names.ts';
import { fetchPinnedCa, publicKeyPin } from '@berth/shared/trust/pin.ts';
import { checkPair } from './check.ts';
import {
  findEnrolling,
  findIdentity,
  prepareIdentityDir,
  saveEnrolling,
  saveIdentity,
  type EnrollingKeys,
  type Pair,
  type StoredIdentity,
} from './identity-store.ts';
import { certificateRequest, newKeyPem } from '@berth/shared/trust/key.ts';

const DEADLINE_MS = 20_000;
/** The name is checked by `checkServerIdentity`; this only keeps an address out of the TLS server name. */
const OPTIONS = { 'grpc.enable_http_proxy': 0, 'grpc.ssl_target_name_override': 'controller' };

/** @param token the line that `berth host add` printed. Errors are one line. */
export async function enroll(o: { dataDir: string; token: string; clock: Clock }): Promise<StoredIdentity> {
  const line = decodeJoinLine(o.token);
  const known = await findIdentity(o.dataDir);
  if (known?.tokenId === line.tokenId) return known;
  const caPem = await fetchPinnedCa(line.controller, line.caPin);
  const keys = await keysFor(o.dataDir, line.tokenId);
  const request = {
    tokenId: line.tokenId,
    tokenSecret: line.secret,
    csrPem: await certificateRequest(keys.controlKeyPem),
    transferCsrPem: await certificateRequest(keys.transferKeyPem),
  };
  const answer = await ask(line, caPem, request, o.clock);
  const identity = identityOf(answer, line, keys, o.clock.now());
  refuseOther(known, identity);
  await saveIdentity(o.dataDir, identity);
  return identity;
}

/** Kept until the answer is: a lost answer is asked for again with the same keys. */
async function keysFor(dataDir: string, tokenId: string): Promise<EnrollingKeys> {
  await prepareIdentityDir(dataDir);
  const known = await findEnrolling(dataDir);
  if (known?.tokenId === tokenId) return known;
  const made = { tokenId, controlKeyPem: await newKeyPem(), transferKeyPem: await newKeyPem() };
  await saveEnrolling(dataDir, made);
  return made;
}

/**
 * What is on this host belongs to the host that it was: VMs, disks, the ledger of operations. Names are unique in an
 * installation, so when the name is the same, that host was removed from the inventory and this one added in its place.
 */
function refuseOther(known: StoredIdentity | undefined, now: StoredIdentity): void {
  if (known === undefined || known.hostId === now.hostId || known.installationId !== now.installationId) return;
  if (known.hostName === now.hostName) return;
  throw new ClusterError(
    'BAD_STATE',
    `this machine is host ${known.hostName} already, and this token is for host ${now.hostName}. ` +
      `Use a token for ${known.hostName} (berth host re-enroll ${known.hostName}), or empty the data directory first`,
  );
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

/** @throws PERMISSION_DENIED when the controller's answer is not what was asked for; nothing is stored then. */
function identityOf(a: EnrollResponse, line: JoinLine, keys: EnrollingKeys, nowMs: number): StoredIdentity {
  const wrong = (what: string): ClusterError =>
    new ClusterError(
      'PERMISSION_DENIED',
      `the controller at ${line.controller} answered with ${what}; nothing was stored`,
    );
  const trust = { control: a.caPems.length > 0 ? a.caPems : [a.caPem], transfer: a.transferCaPems, revoked: [] };
  const control = { keyPem: keys.controlKeyPem, certPem: a.certificatePem };
  const transfer =
    a.transferCertificatePem === '' ? undefined : { keyPem: keys.transferKeyPem, certPem: a.transferCertificatePem };
  try {
    if (!trust.control.some((pem) => publicKeyPin(pem) === line.caPin)) throw wrong('another CA than the token names');
    const check = (purpose: 'control' | 'transfer', pair: Pair): void =>
      checkPair(pair, { purpose, hostId: a.hostId, cas: trust[purpose], nowMs });
    check('control', control);
    if (transfer) check('transfer', transfer);
  } catch (e) {
    if (isClusterError(e, 'INVALID_ARGUMENT')) throw wrong(`what cannot be used: ${e.message.replace(/;.*$/, '')}`);
    throw isClusterError(e) ? e : wrong('something that is no certificate');
  }
  const { hostId, hostName, installationId } = a;
  const names = { version: 2 as const, hostId, hostName, installationId, tokenId: line.tokenId };
  return { ...names, control, ...(transfer ? { transfer } : {}), pending: {}, trust };
}
