/** The definitions of the public API at run time, for the JSON border and for reflection: read once, when first asked for. */
import { create, createFileRegistry, fromBinary, type FileRegistry } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { DESCRIPTORS } from '@berth/proto/descriptors.ts';

let read: FileRegistry | undefined;

export function publicApi(): FileRegistry {
  const file = () => DESCRIPTORS.map((d) => fromBinary(FileDescriptorProtoSchema, Buffer.from(d, 'base64')));
  return (read ??= createFileRegistry(create(FileDescriptorSetSchema, { file: file() })));
}
