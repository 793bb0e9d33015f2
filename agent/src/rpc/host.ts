/** HostService on the wire. */
import type { HostServiceServer } from '@berth/proto/agent/v1/host.ts';
import type { HostFacts } from '@berth/shared/model/host.ts';
import { encodeHost } from './encode.ts';
import type { Guard } from './guard.ts';

export const hostService = (guard: Guard, report: () => Promise<HostFacts>): HostServiceServer => ({
  getHost: guard.read('GetHost', async () => encodeHost(await report())),
});
