/** What becomes of sources that are offered to fetches which never had their turn. */
import { expect, it, vi } from 'vitest';
import type { Disks } from '../drivers/disks.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import type { Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import type { PeerSource } from '../peer/dial.ts';
import type { Tunnel } from '../peer/tunnels.ts';
import { Images } from './images.ts';

const image = { digest: `sha256:${'ab'.repeat(32)}`, virtualSizeBytes: 512 };
const source = { peerHostId: 'host-1', address: 'h1:7445', ticket: 't' } as PeerSource;

it('an offer goes with its fetch when that was cancelled before its turn', async () => {
  const running = new Set(['job-1.a']);
  const operations = { define: (kind: unknown) => kind, isRunning: (id: string) => running.has(id) };
  const tunnel = { offer: vi.fn(), close: async () => undefined, socketPath: '/s', hashesPath: '/h' };
  const disks = { listImages: async () => [], fetchImage: async () => ({ ...image, fileBytes: 1 }) };
  const images = new Images(
    disks as unknown as Disks,
    operations as unknown as Operations,
    { open: async () => tunnel as unknown as Tunnel },
    {} as Hypervisor,
  );
  const work = (operationId: string): Work =>
    ({ operationId, signal: new AbortController().signal, onProgress: () => undefined }) as unknown as Work;
  images.offer('job-1.a', source);
  running.clear();
  running.add('job-1.b');
  images.offer('job-1.b', source);
  await images.fetch.run(image, work('job-1.b'));
  expect(tunnel.offer).toHaveBeenCalledTimes(1);
  await images.fetch.run(image, work('job-1.a'));
  expect(tunnel.offer).toHaveBeenCalledTimes(1);
});
