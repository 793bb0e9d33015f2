/** A volume that stands alone as a document that people keep and give back. Those of VMs stand in the documents of their VMs. */
import type { Volume } from '@berth/proto/v1/volume.ts';
import { writeForm } from '@berth/shared/hardware/form.ts';

/** `status` is ignored when it comes back. */
export const volumeDocument = (v: Volume): object => ({
  ...{ kind: 'volume', name: v.name },
  ...(Object.keys(v.labels).length > 0 && { labels: v.labels }),
  spec: writeForm({ sizeBytes: Number(v.sizeBytes), format: v.format, host: v.host, pool: v.pool }),
  status: {
    ...{ id: v.id, state: v.state },
    ...(v.vm !== '' && { vm: v.vm, target: v.target }),
    ...(v.backing.length > 0 && { backing: v.backing }),
  },
});
