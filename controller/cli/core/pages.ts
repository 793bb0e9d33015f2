/** Lists come in pages; commands want all of them. */
import type { PageRequest } from '@berth/proto/v1/common.ts';

const PAGE_SIZE = 1000;

export async function allPages<T>(
  page: (p: PageRequest) => Promise<{ readonly items: readonly T[]; readonly next: string }>,
): Promise<T[]> {
  const all: T[] = [];
  let token = '';
  do {
    const { items, next } = await page({ pageSize: PAGE_SIZE, pageToken: token });
    all.push(...items);
    token = next;
  } while (token !== '');
  return all;
}
