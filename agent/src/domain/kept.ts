/**
 * What stays in a domain that Berth defines anew: devices and settings that somebody put there by hand, and that no spec can
 * say. Nothing is lost silently. Pure.
 */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { describeDomain, foreignOf, type DescribeFrom, type DomainDescription } from './describe.ts';
import type { DomainSpec } from './spec.ts';
import { printKept, type Foreign } from './xml/foreign.ts';
import type { Kept } from './xml/definition.ts';

export interface KeptWithWords extends Kept {
  readonly what: readonly string[];
}

/** Undefined when there is nothing. @param now the domain as it is @param wanted as it is to be */
export function keptOf(now: DescribeFrom, wanted: DomainSpec): KeptWithWords | undefined {
  const kept = allKept(now, wanted);
  return kept.length === 0 ? undefined : { ...printKept(kept), what: kept.map((f) => f.what) };
}

function allKept(now: DescribeFrom, wanted: DomainSpec): readonly Foreign[] {
  try {
    const description = describeDomain(now);
    return [...description.foreign, ...cardsByHand(description, wanted)];
  } catch (e) {
    if (!isClusterError(e, 'BAD_STATE')) throw e;
    return foreignOf(now);
  }
}

/** In a domain that is as Berth made it, a card that is not wanted any more is Berth's to take out; in another, who knows. */
function cardsByHand({ spec, changes, cards }: DomainDescription, wanted: DomainSpec): readonly Foreign[] {
  if (changes.length === 0) return [];
  const unknown = spec.nics.filter((n) => !wanted.nics.some((w) => w.mac === n.mac));
  return unknown.flatMap(({ mac }) => {
    const device = cards.get(mac);
    return device ? [{ what: `network card ${mac} may be somebody's own`, device }] : [];
  });
}
