/** Server reflection from the same descriptors as the HTTP gateway, for people with grpcurl. Authorised like every other method. */
import type { Server } from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { DESCRIPTORS } from '@berth/proto/descriptors.ts';

/** The files are told one by one under their own names: proto-loader would make one of all that share a package. */
export function addReflection(server: Pick<Server, 'addService'>): void {
  const fileDescriptorProtos = DESCRIPTORS.map((base64) => Buffer.from(base64, 'base64'));
  // nothing but these is read of a definition
  const files = { berth: { fileDescriptorProtos } } as unknown as PackageDefinition;
  new ReflectionService(files).addToServer(server as Server);
}
