/** PushService: images brought to many hosts. */
import type { PushServiceService } from '@berth/proto/v1/push.ts';
import type { ImagePushes } from '../app/image-push.ts';
import type { Handlers } from './call.ts';

export const pushHandlers = (images: ImagePushes): Handlers<PushServiceService> => ({
  pushImage: async (r, call) => {
    const { pushes, unreachable } = await images.push(r, call.user);
    return { pushes: pushes.map((p) => ({ host: p.host, jobId: p.jobId ?? '' })), unreachable: [...unreachable] };
  },
});
