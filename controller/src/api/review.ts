/** ReviewService: what hosts have and a restored inventory does not know. */
import type { ReviewServiceService } from '@berth/proto/v1/review.ts';
import type { Reviews } from '../app/reviews.ts';
import { toWire } from './numbers.ts';
import type { Handlers } from './call.ts';

export const reviewHandlers = (reviews: Reviews): Handlers<ReviewServiceService> => ({
  listReviews: async (r) => ({
    reviews: (await reviews.list(r.hosts)).map(({ host, review, reported, differences }) => ({
      host: host.name,
      pending: review !== undefined,
      reported,
      backupAtMs: toWire(review?.backupAtMs),
      restoredAtMs: toWire(review?.restoredAtMs),
      differences: differences.map((d) => ({ ...d })),
    })),
  }),
  acceptHost: async (r, call) => ({ taken: [...(await reviews.accept(r.host, call.user))] }),
});
