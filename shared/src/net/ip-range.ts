/** A range of addresses of one network, as people write it. Pure; which of them are free is for others to say. */
import { contains, formatIp, networkOf, parseCidr, parseIp, specialAs, type Cidr, type Ip } from './ip.ts';
import { invalidArgument } from '../errors/cluster-error.ts';

export interface IpRange {
  readonly first: Ip;
  readonly last: Ip;
  readonly prefix: number;
}

/**
 * `10.0.0.10-10.0.0.40/24`, `10.0.0.10-40/24` (only the end of the second), `10.0.0.0/24` (all of a network).
 * @throws INVALID_ARGUMENT
 */
export function parseRange(text: string): IpRange {
  const [from = '', to, more] = text.split('-');
  const range = more !== undefined ? undefined : to === undefined ? whole(from) : between(from, to);
  if (range === undefined)
    throw invalidArgument(
      `${JSON.stringify(text.slice(0, 100))} is not a range of addresses: write it like 10.0.0.10-10.0.0.40/24`,
    );
  const { first, last, prefix } = range;
  if (prefix === 0)
    throw invalidArgument(`the range ${text} is of no network: say its prefix, as in 10.0.0.10-10.0.0.40/24`);
  if (!contains({ ...first, prefix }, last))
    throw invalidArgument(
      `the range ${text} leaves its network: ${formatIp(last)} is not in the /${prefix} of ${formatIp(first)}`,
    );
  if (last.value < first.value) throw invalidArgument(`the range ${text} ends before it begins`);
  // between two ends that are none of these there are none either
  for (const end of [first, last]) {
    const what = specialAs(end);
    if (what !== undefined)
      throw invalidArgument(`the range ${text} has no addresses of guests: ${formatIp(end)} is ${what}`);
  }
  return range;
}

function whole(text: string): IpRange | undefined {
  const network = parseCidr(text);
  return network && { ...networkOf(network), prefix: network.prefix };
}

function between(from: string, to: string): IpRange | undefined {
  const first = parseIp(from);
  const last = first && (parseCidr(to) ?? shortened(first, from, to));
  if (first === undefined || last === undefined || first.family !== last.family) return undefined;
  return { first, last: { family: last.family, value: last.value }, prefix: last.prefix };
}

/** `40/24` after `10.0.0.10-`: the last part alone. */
function shortened(first: Ip, from: string, to: string): Cidr | undefined {
  if (first.family === 6 || !/^\d{1,3}\//.test(to)) return undefined;
  return parseCidr(`${from.slice(0, from.lastIndexOf('.') + 1)}${to}`);
}

/** How many addresses it spans, those that no guest can have too. */
export const spanOf = ({ first, last }: IpRange): bigint => last.value - first.value + 1n;

export const inRange = ({ first, last }: IpRange, ip: Ip): boolean =>
  ip.family === first.family && ip.value >= first.value && ip.value <= last.value;
