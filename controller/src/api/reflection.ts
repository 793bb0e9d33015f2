/**
 * Server reflection from the same descriptors as the JSON border, for people with grpcurl: v1, and v1alpha for older tools, which is
 * the same on the wire. Authorised like every other method.
 */
import { toBinary, type DescFile } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import {
  ServerReflectionService,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from '@berth/proto/grpc/reflection/v1/reflection.ts';
import type { Handlers } from './call.ts';
import { publicApi } from './descriptors.ts';
import type { PublicService } from './services.ts';

type Answer = ServerReflectionResponse['messageResponse'];

const handlers: Handlers<ServerReflectionService> = {
  async *serverReflectionInfo(requests) {
    for await (const request of requests)
      yield { validHost: request.host, originalRequest: request, messageResponse: reflect(request.messageRequest) };
  },
};
const { serverReflectionInfo: v1 } = ServerReflectionService;
const v1alpha = { ...v1, path: v1.path.replace('.v1.', '.v1alpha.') };

/** Both releases of the service. */
export const REFLECTION: readonly PublicService[] = [v1, v1alpha].map((serverReflectionInfo) => ({
  definition: { serverReflectionInfo },
  handlers: handlers as PublicService['handlers'],
}));

/** What is asked, answered; what is not there is an answer too, and the call goes on. Pure. */
export function reflect(asked: ServerReflectionRequest['messageRequest']): Answer {
  switch (asked?.$case) {
    case 'listServices': {
      const service = [...publicApi().files].flatMap((f) => f.services).map((s) => ({ name: s.typeName }));
      return { $case: 'listServicesResponse', value: { service } };
    }
    case 'fileByFilename':
      return filesOf(
        [...publicApi().files].find((f) => f.proto.name === asked.value),
        asked.value,
      );
    case 'fileContainingSymbol':
      return filesOf(fileOf(asked.value), asked.value);
    case 'allExtensionNumbersOfType':
      return publicApi().getMessage(asked.value) === undefined
        ? notFound(asked.value)
        : { $case: 'allExtensionNumbersResponse', value: { baseTypeName: asked.value, extensionNumber: [] } };
    case 'fileContainingExtension':
      return notFound(`extension ${asked.value.extensionNumber} of ${asked.value.containingType}`);
    default:
      return failed(status.UNIMPLEMENTED, 'nothing that reflection knows was asked for');
  }
}

const failed = (errorCode: status, errorMessage: string): Answer => ({
  $case: 'errorResponse',
  value: { errorCode, errorMessage },
});
const notFound = (what: string): Answer => failed(status.NOT_FOUND, `there is no ${what} in this API`);

/** Of a type or service, or of something in one: `berth.v1.VmService.GetVm`. */
function fileOf(symbol: string): DescFile | undefined {
  const found = publicApi().get(symbol);
  if (found !== undefined) return found.file;
  const [, scope = '', name = ''] = /^(.*)\.([^.]+)$/.exec(symbol) ?? [];
  const parent = publicApi().get(scope);
  if (parent === undefined) return undefined;
  return membersOf(parent).includes(name) ? parent.file : undefined;
}

function membersOf(parent: NonNullable<ReturnType<ReturnType<typeof publicApi>['get']>>): readonly string[] {
  if (parent.kind === 'service') return parent.methods.map((m) => m.name);
  if (parent.kind === 'enum') return parent.values.map((v) => v.name);
  return parent.kind === 'message' ? [...parent.fields, ...parent.oneofs].map((m) => m.name) : [];
}

/** The file and all that it imports, each once. */
function filesOf(file: DescFile | undefined, asked: string): Answer {
  if (file === undefined) return notFound(asked);
  const all = new Set([file]);
  for (const f of all) for (const d of f.dependencies) all.add(d); // a set is walked to its end, also while it grows
  const fileDescriptorProto = [...all].map((f) => Buffer.from(toBinary(FileDescriptorProtoSchema, f.proto)));
  return { $case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
}
