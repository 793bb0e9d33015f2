/** A refused placement in words: one line, the first reason of every host. */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Refusal } from '../scheduler/world.ts';

/** Hosts named in the line; the rest are counted, and all are in the meta. */
const NAMED = 8;

/** @param kind of what has no place: vm, volume. */
export function noCapacity(vm: { readonly name: string }, refusals: readonly Refusal[], kind = 'vm'): ClusterError {
  const words =
    refusals.length === 0 ? 'the cluster has no hosts. Add one with: berth host add NAME ADDRESS' : hostWords(refusals);
  const meta = Object.fromEntries(refusals.map((r) => [r.host, `${r.filter}: ${r.detail}`]));
  const [only] = refusals;
  const message =
    refusals.length === 1 && only
      ? `${kind} ${vm.name} cannot ${kind === 'vm' ? 'run' : 'lie'} on ${only.host}: ${sentence(only)}`
      : `no host has room for ${kind} ${vm.name}: ${words}`;
  return new ClusterError('NO_CAPACITY', message, meta);
}

/** `h1 memory 1 GiB free of 2 GiB wanted; h2 in maintenance; and 3 more` */
export function hostWords(refusals: readonly Refusal[]): string {
  const line = refusals.slice(0, NAMED).map((r) => `${r.host} ${sentence(r)}`);
  if (refusals.length > NAMED) line.push(`and ${refusals.length - NAMED} more`);
  return line.join('; ');
}

/** Some details say all there is to say; others need the name of what they are about. */
const sentence = (r: Refusal): string =>
  r.filter === 'state' ||
  r.filter === 'review' ||
  r.filter === 'maintenance' ||
  r.filter === 'capability' ||
  r.filter === 'port' ||
  r.filter === 'pool' ||
  r.filter === 'bridge'
    ? r.detail
    : `${r.filter} ${r.detail}`;
