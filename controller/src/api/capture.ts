/** CaptureService: images of VMs. */
import type { CaptureServiceService } from '@berth/proto/v1/capture.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Captures } from '../app/captures.ts';
import type { Images } from '../app/images.ts';
import type { Handlers } from './call.ts';
import { toImage } from './image.ts';

export const captureHandlers = (captures: Captures, images: Images): Handlers<CaptureServiceService> => ({
  captureImage: async (r, call) => {
    const { vm, name, disks, hidden, generalize = false, snapshot = '' } = r;
    // an image is for all who may use images, so whoever makes one must be one of them
    if (!hidden && !call.access.everywhere('operator'))
      throw new ClusterError(
        'PERMISSION_DENIED',
        `everybody may use images, so making one takes the role operator everywhere, which ${call.user} does not have`,
      );
    const made = await captures.capture({ vm, name, disks, hidden, generalize, snapshot }, call.user);
    const views = await Promise.all(made.images.map((i) => images.get(i.id)));
    return { images: views.map(toImage), jobId: made.jobId };
  },
});
