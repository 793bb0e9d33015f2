/** The agent port against certificates of all kinds, over real TLS: who gets in, who is cut off, and what a wrong clock is told. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { fromStatus } from '@berth/shared/errors/wire.ts';
import { readCertificate } from '@berth/shared/trust/certificate.ts';
import { until } from '@berth/test/harness/until.ts';
import { AgentWorld, call, clientsFor, fence, INSTALLATION, watchInto, type Clients } from '../testing/world.ts';
import type { TestIdentity } from '@berth/test/harness/pki.ts';

const CONTROLLER = `urn:berth:controller:${INSTALLATION}`;
let w: AgentWorld;
const opened: Clients[] = [];
beforeEach(async () => {
  w = await AgentWorld.start();
});
afterEach(async () => {
  for (const c of opened.splice(0)) c.close();
  await w.end();
});

function clients(who: TestIdentity): Clients {
  const made = clientsFor(w.port, { ...who, caPem: w.ca.caPem });
  opened.push(made);
  return made;
}
const reasonFor = (who: TestIdentity) => {
  const c = clients(who);
  return call(c.host, c.host.getHost, {}).then(
    () => 'let in',
    (e: unknown) => (isClusterError(e) ? e.reason : String(e)),
  );
};

describe('the agent port', () => {
  it('is closed to certificates for transfers, whatever name they bear', async () => {
    expect(await reasonFor(await w.ca.transfer('host-2'))).toBe('HOST_UNREACHABLE');
    expect(await reasonFor(await w.ca.issueTransfer({ uri: CONTROLLER }))).toBe('HOST_UNREACHABLE');
    expect(await reasonFor(await w.ca.issue({ uri: CONTROLLER }))).toBe('let in');
  });

  it('tells a controller whose certificate is not valid by its clock what its clock says, and nothing more', async () => {
    const day = 86_400_000;
    for (const [from, to] of [
      [-2 * day, -day],
      [day, 2 * day],
    ] as const) {
      const dates = { notBefore: new Date(Date.now() + from), notAfter: new Date(Date.now() + to) };
      const c = clients(await w.ca.issue({ uri: CONTROLLER, ...dates }));
      const refused = await call(c.host, c.host.getHost, {}).catch((e: unknown) => e);
      expect(refused).toMatchObject({
        reason: 'UNAUTHENTICATED',
        message: expect.stringMatching(/clock of this host/),
      });
      expect(
        Math.abs(Number((refused as { meta: { hostClockMs: string } }).meta.hostClockMs) - Date.now()),
      ).toBeLessThan(60_000);
    }
    // strangers are told nothing, also when their dates are wrong
    const old = { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) };
    expect(await reasonFor(await w.ca.issue({ uri: 'urn:berth:host:host-2', ...old }))).toBe('HOST_UNREACHABLE');
    expect(await reasonFor(await w.ca.issueTransfer({ uri: CONTROLLER, ...old }))).toBe('HOST_UNREACHABLE');
  });

  it('cuts a stream whose certificate is revoked at once, and lets it in no more', async () => {
    const stolen = await w.ca.issue({ uri: CONTROLLER });
    const c = clients(stolen);
    const watch = watchInto(c);
    await until('the snapshot', () => watch.cases().includes('end'));
    const { serial } = readCertificate(stolen.certPem);
    const { certificate } = w.clients;
    await call(certificate, certificate.setTrust, {
      fence: fence(),
      controlCas: [w.ca.caPem],
      transferCas: [...w.identity.trust.transfer],
      revokedSerials: [serial.toUpperCase()],
    });
    expect(fromStatus(await until('the cut', watch.failure), 'HOST_UNREACHABLE', 'a').reason).toBe('HOST_UNREACHABLE');
    expect(await reasonFor(stolen)).toBe('HOST_UNREACHABLE');
  });

  it('keeps an open stream while whom it trusts changes under it', async () => {
    const watch = watchInto(w.clients);
    await until('the snapshot', () => watch.cases().includes('end'));
    const { certificate } = w.clients;
    const lists = { controlCas: [w.ca.caPem], transferCas: [], revokedSerials: ['01'] };
    await call(certificate, certificate.setTrust, { fence: fence(), ...lists });
    const before = watch.seen.length;
    await until('it goes on', () => watch.seen.length > before);
    expect(watch.failure()).toBeUndefined();
  });
});
