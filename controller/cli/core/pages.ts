/** Lists come in pages; commands want all of them, in the order in which people count: h2 before h10. */
import type { PageRequest } from '@berth/proto/v1/common.ts';

const PAGE_SIZE = 1000;

export async function allPages<T extends { readonly name: string }>(
  page: (p: PageRequest) => Promise<{ readonly items: readonly T[]; readonly next: string }>,
): Promise<T[]> {
  const all: T[] = [];
  let token = '';
  do {
    const { items, next } = await page({ pageSize: PAGE_SIZE, pageToken: token });
    all.push(...items);
    token = next;
  } while (token !== '');
  return all.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
}
