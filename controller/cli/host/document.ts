/** A host as a document that people keep and give back: labels and maintenance. Its address is told, and cannot be changed so. */
import type { Host } from '@berth/proto/v1/host.ts';

export const hostDocument = (h: Pick<Host, 'name' | 'labels' | 'address' | 'maintenance'>): object => ({
  ...{ kind: 'host', name: h.name },
  ...(Object.keys(h.labels).length > 0 && { labels: h.labels }),
  spec: { address: h.address, maintenance: h.maintenance },
});
