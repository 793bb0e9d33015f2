/** The client certificate of a context: got at login, renewed when it is due. When to look is upkeep.ts's. */
import { hostname } from 'node:os';
import type { Api } from './api.ts';
import type { ClientCertificate, ConfigStore, Endpoint } from './config.ts';

/** A new key, and a certificate for it that stands for whatever the API is called with. */
export async function obtain(api: Api): Promise<ClientCertificate> {
  const { certificateRequest, newKeyPem } = await import('@berth/shared/trust/key.ts');
  const key = await newKeyPem();
  const request = { csrPem: await certificateRequest(key), description: `berth on ${hostname()}`.slice(0, 200) };
  const r = await api.call(api.certificates, (c) => c.issueCertificate, request);
  const renewsAtMs = r.renewsAtMs === 0n ? undefined : Number(r.renewsAtMs);
  return { certificate: r.certificatePem, key, renewsAtMs };
}

/**
 * Renews the certificate of a context, and notes it there, unless another command was faster or the context is another's now.
 * @returns what to use from now on.
 */
export async function renew(api: Api, store: ConfigStore, name: string, endpoint: Endpoint): Promise<Endpoint> {
  const inStep = (e: Endpoint | undefined) => e?.client?.certificate === endpoint.client?.certificate;
  const before = store.load().contexts[name];
  if (!inStep(before)) return before?.controller === endpoint.controller ? before : endpoint;
  const client = await obtain(api);
  const config = store.load();
  const stored = config.contexts[name];
  if (stored === undefined || !inStep(stored)) return { ...endpoint, client };
  store.save({ ...config, contexts: { ...config.contexts, [name]: { ...stored, client } } });
  return { ...stored, client };
}
