/**
 * Keeps the pinned CA of a context in step with the controller: while CAs are being rotated the controller says so with each
 * answer, over a connection that the old CA has proven, and the new one is noted here. Never a reason for a command to fail.
 */
import { splitPem, trustDigest } from '@berth/shared/trust/certificate.ts';
import type { Api } from './api.ts';
import type { ConfigStore, Endpoint } from './config.ts';

/** Whether the controller has told of other CAs than this context knows. */
const differs = (told: string | undefined, endpoint: Endpoint): boolean =>
  told !== undefined && told !== trustDigest({ control: splitPem(endpoint.ca) }).slice(0, told.length);

export async function followCa(api: Api, store: ConfigStore, endpoint: Endpoint): Promise<void> {
  if (!differs(api.toldCa(), endpoint)) return;
  const { caPems } = await api.call(api.certificates, (c) => c.getTrust, {});
  const ca = caPems.join('');
  if (splitPem(ca).length === 0) return;
  const config = store.load();
  const renewed = Object.entries(config.contexts).map(([name, e]) => {
    const same = e.controller === endpoint.controller && e.ca === endpoint.ca;
    return [name, same ? { ...e, ca } : e] as const;
  });
  store.save({ ...config, contexts: Object.fromEntries(renewed) });
  api.use({ ...endpoint, ca });
}
