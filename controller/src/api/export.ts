/** ExportService: files that people take out. Relays, and stores nothing. */
import type { DownloadResponse, ExportServiceService } from '@berth/proto/v1/export.ts';
import { notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Exports } from '../app/exports.ts';
import type { Images } from '../app/images.ts';
import type { Handlers } from './call.ts';
import { fromWire, toWire } from './numbers.ts';
import type { Scope } from './scope.ts';

export const exportHandlers = (exports: Exports, images: Images, scope: Scope): Handlers<ExportServiceService> => ({
  exportImage: async (r, call) => {
    const { image } = await images.get(r.image);
    if (!scope.seesImage(call, image, 'operator'))
      throw notFound(`image ${r.image.slice(0, 80)} does not exist. See: berth image list`);
    return exports.image(image.id, r.format, call.user);
  },
  exportVolume: (r, call) => exports.volume(r.volume, r.format, call.user),
  download: async function* (r, call) {
    const file = await exports.open({ ...r, user: call.user }, call.signal);
    const { sha256 } = file;
    const [fileBytes, virtualSizeBytes] = [toWire(file.fileBytes), toWire(file.virtualSizeBytes)];
    yield { message: { $case: 'begin', value: { fileBytes, sha256, virtualSizeBytes } } } satisfies DownloadResponse;
    for await (const piece of exports.read({ ...r, user: call.user }, fromWire('offset', r.offset), call.signal))
      yield typeof piece === 'number'
        ? { message: { $case: 'zeros' as const, value: BigInt(piece) } }
        : { message: { $case: 'data' as const, value: Buffer.from(piece.buffer, piece.byteOffset, piece.length) } };
  },
  finishDownload: async (r, call) => {
    exports.finish({ ...r, user: call.user });
    return {};
  },
});
