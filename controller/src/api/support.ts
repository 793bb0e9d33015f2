/** SupportService: what somebody who helps needs to see. Relays what support/ makes, piece by piece. */
import type { SupportServiceService } from '@berth/proto/v1/support.ts';
import type { Support } from '../support/bundle.ts';
import type { Handlers } from './call.ts';

export const supportHandlers = (support: Support): Handlers<SupportServiceService> => ({
  readSupportBundle: async function* (r, call) {
    for await (const data of support.bundle(r, call.user, call.signal)) yield { data: Buffer.from(data) };
  },
});
