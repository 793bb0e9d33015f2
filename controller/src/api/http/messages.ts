/**
 * Messages of the public API as proto3's JSON: 64-bit numbers as strings, enums by name, bytes as base64, fields in
 * lowerCamelCase. Reads strictly (unknown and repeated fields are refused, with a line), writes every field that has a
 * value of its own. Between JSON and the generated types stands the wire format, so both borders see the same message.
 */
import {
  create,
  fromBinary,
  mergeFromJson,
  mergeFromJsonString,
  toBinary,
  toJson,
  type DescField,
  type DescMessage,
  type DescMethod,
  type JsonObject,
  type Message,
} from '@bufbuild/protobuf';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { publicApi } from '../descriptors.ts';

/** Every method of the public API, by its path: /berth.v1.VmService/GetVm. */
export function openMethods(): ReadonlyMap<string, DescMethod> {
  const services = [...publicApi().files].flatMap((f) => f.services);
  return new Map(services.flatMap((s) => s.methods.map((m) => [`/${s.typeName}/${m.name}`, m] as const)));
}

/** As the handlers' side encoded it. */
export const jsonOf = (type: DescMessage, bytes: Uint8Array): JsonObject =>
  toJson(type, fromBinary(type, bytes), { alwaysEmitImplicit: true }) as JsonObject;

/**
 * Puts a request together.
 * @param body JSON text, or empty. @param fields those of path, query or headers: they may not be in the body too.
 */
export function requestOf(type: DescMessage, body: string, fields: JsonObject): Buffer {
  const message = create(type);
  if (body !== '') reading(type, () => void mergeFromJsonString(type, message, body));
  for (const field of type.fields)
    if (field.jsonName in fields && isGiven(message, field))
      throw invalidArgument(`${field.jsonName} stands in the path already: leave it out of the body`);
  reading(type, () => void mergeFromJson(type, message, fields));
  return Buffer.from(toBinary(type, message));
}

function isGiven(message: Message, field: DescField): boolean {
  const value = (message as unknown as Record<string, unknown>)[field.localName];
  return value !== undefined && value !== '' && value !== 0 && value !== 0n && value !== false;
}

function reading(type: DescMessage, read: () => void): void {
  try {
    read();
  } catch (e) {
    throw invalidArgument(wordsOf(type, e));
  }
}

interface FieldFault {
  readonly message: string;
  field(): { readonly name: string; readonly jsonName?: string; readonly parent: DescMessage };
}
const isFieldFault = (e: unknown): e is FieldFault =>
  e instanceof Error && typeof (e as { field?: unknown }).field === 'function';

/** The library says which field and what it found; this says it as the rest of Berth does. */
function wordsOf(type: DescMessage, e: unknown): string {
  const cause = e instanceof Error ? e.cause : undefined;
  if (isFieldFault(cause)) {
    const field = cause.field();
    const name = field.jsonName ?? field.name;
    return `${field.parent === type ? '' : `${field.parent.name}.`}${name}: ${cause.message.slice(0, 200)}`;
  }
  const text = e instanceof Error ? e.message : String(e);
  const [, where = type.typeName, unknown] =
    /cannot decode message (\S+) from JSON: key "(.*)" is unknown$/s.exec(text) ?? [];
  if (unknown === undefined)
    return text
      .replace(/^cannot decode message \S+ from JSON: /, 'the body is no JSON object of fields: ')
      .slice(0, 300);
  return where === type.typeName
    ? unknownField(
        type,
        unknown,
        type.fields.map((f) => f.jsonName),
      )
    : `${JSON.stringify(unknown.slice(0, 80))} is no field of ${where.replace(/^.*\./, '')}`;
}

export const unknownField = (type: DescMessage, field: string, known: readonly string[]): string =>
  `${JSON.stringify(field.slice(0, 80))} is no field of ${type.name}${known.length > 0 ? `; it has ${known.join(', ')}` : ''}`;
