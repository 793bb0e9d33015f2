/** What HostService says of the machines that hosts are. */
import type { HostServiceService } from '@berth/proto/v1/host.ts';
import type { Machines } from '../app/machines.ts';
import type { Handlers } from './call.ts';

export const machineHandlers = (machines: Machines): Pick<Handlers<HostServiceService>, 'checkHost'> => ({
  checkHost: async (r) => {
    const { host, checks, clockSkewMs } = await machines.check(r.host);
    return { host: host.name, checks: checks.map((c) => ({ ...c })), clockSkewMs };
  },
});
