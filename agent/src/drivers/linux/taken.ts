/** Which networks a host has addresses in, or routes to, from what `ip` reports. Pure. */
import * as z from 'zod';
import { formatIp, isLinkLocal, isMulticast, parseCidr, parseIp } from '@berth/shared/net/ip.ts';
import type { Taken } from '../../network/overlaps.ts';
import type { LinkSeen } from './bridge-plan.ts';

export const takenByAddresses = (links: readonly LinkSeen[]): Taken[] =>
  links.flatMap(({ name, addresses }) =>
    addresses.map((network) => ({ network, device: name, what: `address ${network} of ${name}` })),
  );

const Routes = z.array(z.object({ dst: z.string(), dev: z.string().default(''), type: z.string().default('unicast') }));

/** Those of the kernel's own for addresses, broadcasts and links, and the way to everything else, are none. */
export function takenByRoutes(json: string): Taken[] {
  const routes = Routes.parse(json.trim() === '' ? [] : JSON.parse(json));
  return routes.flatMap(({ dst, dev, type }) => {
    const network = cidrOf(dst);
    if (network === undefined || dev === 'lo' || !['unicast', 'blackhole', 'unreachable', 'prohibit'].includes(type))
      return [];
    return [{ network, device: dev, what: `a route to ${network}${dev === '' ? '' : ` by ${dev}`}` }];
  });
}

function cidrOf(dst: string): string | undefined {
  const ip = parseIp(dst);
  const cidr = ip ? { ...ip, prefix: ip.family === 4 ? 32 : 128 } : parseCidr(dst);
  if (cidr === undefined || cidr.prefix === 0 || isLinkLocal(cidr) || isMulticast(cidr)) return undefined;
  return `${formatIp(cidr)}/${cidr.prefix}`;
}
