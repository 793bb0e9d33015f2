/** Pages of lists in the order of names: a token says after which name the next page begins. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { NamedTable } from '../state/state.ts';

export interface PageQuery {
  /** 0: 500. */
  readonly pageSize: number;
  readonly pageToken: string;
}

export interface Page<V> {
  readonly items: readonly V[];
  /** Empty: that was the last. */
  readonly nextPageToken: string;
}

const DEFAULT_SIZE = 500;
const LARGEST = 5000;

/** @param keep only these; others do not count as part of the page. */
export function pageByName<V extends { readonly name: string }>(
  table: Pick<NamedTable<V>, 'afterName'>,
  query: PageQuery,
  keep?: (v: V) => boolean,
): Page<V> {
  const size = Math.min(LARGEST, query.pageSize || DEFAULT_SIZE);
  const items: V[] = [];
  let after = readToken(query.pageToken);
  for (;;) {
    const some = table.afterName(after, size + 1);
    for (const v of some) if (keep === undefined || keep(v)) items.push(v);
    if (items.length > size || some.length <= size) break;
    after = some.at(-1)?.name ?? after;
  }
  const page = items.slice(0, size);
  return { items: page, nextPageToken: items.length > size ? writeToken(page.at(-1)?.name ?? '') : '' };
}

const writeToken = (name: string): string => Buffer.from(`1:${name}`).toString('base64url');

function readToken(token: string): string {
  if (token === '') return '';
  const text = Buffer.from(token, 'base64url').toString();
  if (!text.startsWith('1:')) throw invalidArgument('page_token is not one that this controller gave');
  return text.slice(2);
}
