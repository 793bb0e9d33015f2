/** Pages at the border. Pure. */
import type { PageRequest } from '@berth/proto/v1/common.ts';
import type { PageQuery } from '../app/pages.ts';

export const toQuery = (p: PageRequest | undefined): PageQuery => ({
  pageSize: p?.pageSize ?? 0,
  pageToken: p?.pageToken ?? '',
});
