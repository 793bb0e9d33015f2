/** What tools are told of the API that ask a running controller: the files that they need, and what is not there. Over the wire: controller.test.ts. */
import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import { reflect, REFLECTION } from './reflection.ts';

const named = (value: string) => reflect({ $case: 'fileContainingSymbol', value });
function filesIn(answer: ReturnType<typeof reflect>): string[] {
  if (answer?.$case !== 'fileDescriptorResponse') throw new Error(JSON.stringify(answer));
  return answer.value.fileDescriptorProto.map((f) => fromBinary(FileDescriptorProtoSchema, f).name);
}

it.each(['berth.v1.Alarm', 'berth.v1.Alarm.subject', 'berth.v1.AlarmService', 'berth.v1.AlarmService.ListAlarms'])(
  'finds the file of %s',
  (symbol) => expect(filesIn(named(symbol))).toEqual(['berth/v1/alarm.proto']),
);

it('finds the file of an enum and of one of its values', () => {
  expect(filesIn(named('berth.v1.HostState'))[0]).toBe('berth/v1/host.proto');
  expect(filesIn(named('berth.v1.HostState.HOST_STATE_UP'))[0]).toBe('berth/v1/host.proto');
});

it('gives a file with what it imports, and what that imports, each once', () => {
  const files = filesIn(reflect({ $case: 'fileByFilename', value: 'berth/v1/vm.proto' }));
  expect(files[0]).toBe('berth/v1/vm.proto');
  expect(files).toContain('berth/v1/common.proto');
  expect(files).toEqual([...new Set(files)]);
});

it.each(['berth.v1.Nothing', 'berth.v1.Alarm.nothing', 'constructor', ''])('says that there is no %j', (symbol) => {
  expect(named(symbol)).toMatchObject({ $case: 'errorResponse', value: { errorCode: status.NOT_FOUND } });
});

it('knows of no extensions, and of nothing else to ask', () => {
  const none = { $case: 'allExtensionNumbersOfType', value: 'berth.v1.Alarm' } as const;
  expect(reflect(none)).toMatchObject({ value: { baseTypeName: 'berth.v1.Alarm', extensionNumber: [] } });
  expect(reflect(undefined)).toMatchObject({ value: { errorCode: status.UNIMPLEMENTED } });
});

it('is there in both releases', () => {
  expect(REFLECTION.map((r) => r.definition['serverReflectionInfo']?.path)).toEqual([
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
  ]);
});
