/** What is wrong with the words of a batch's rows by themselves: all of it, before any row is looked at beside others. Reads hosts alone. */
import { parseSelector } from '@berth/shared/labels/selector.ts';
import type { Tables } from '../state/state.ts';
import { portOf, type BatchRow, type CloneMany } from './batch-request.ts';
import type { Conflicts } from './batch-conflicts.ts';
import { normaliseMac } from './macs.ts';
import { checkName, resolve } from './names.ts';
import { checkAddresses } from './vm-addresses.ts';
import { checkKey } from './vm-identity.ts';

export function addWordFaults(tables: Pick<Tables, 'hosts'>, request: CloneMany, conflicts: Conflicts): void {
  for (const [at, row] of request.rows.entries())
    for (const check of checksOf(tables, request, row, at)) conflicts.of(at, check);
}

/** Each throws for itself. */
const checksOf = (
  { hosts }: Pick<Tables, 'hosts'>,
  request: CloneMany,
  r: BatchRow,
  at: number,
): readonly (() => unknown)[] => [
  () => checkName('vm', r.name),
  ...(r.host === '' ? [] : [() => resolve('host', hosts, r.host)]),
  ...(r.hostSelector === '' ? [] : [() => parseSelector(r.hostSelector)]),
  () => checkAddresses({ address: r.address }),
  () => checkAddresses({ gateway: r.gateway }),
  ...r.dns.map((dns) => () => checkAddresses({ dns: [dns] })),
  ...(r.mac === '' ? [] : [() => normaliseMac(r.mac)]),
  () => portOf(request, r, at),
  ...r.sshKeys.map((key) => () => checkKey(key)),
];
