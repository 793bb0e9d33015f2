/** The query of a URL as fields of a request. `pageSize` and `pageToken` stand for those of `page`. Pure. */
import { ScalarType, type DescField, type DescMessage, type JsonObject, type JsonValue } from '@bufbuild/protobuf';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { unknownField } from './messages.ts';

/** Its fields are written as if they were the request's own. */
const LIFTED = 'berth.v1.PageRequest';

interface Place {
  readonly field: DescField;
  /** Name of the field that it is lifted out of. */
  readonly within: string | undefined;
}

/** INVALID_ARGUMENT for what is no field of the request, stands there twice, or has the wrong form. */
export function fieldsOfQuery(type: DescMessage, query: URLSearchParams): JsonObject {
  const places = placesOf(type);
  const fields: JsonObject = {};
  for (const name of new Set(query.keys())) {
    const place = places.find(({ field }) => field.jsonName === name || field.name === name);
    if (place === undefined)
      throw invalidArgument(
        unknownField(
          type,
          name,
          places.map((p) => p.field.jsonName),
        ),
      );
    const { field, within } = place;
    const into = within === undefined ? fields : ((fields[within] ??= {}) as JsonObject);
    if (Object.hasOwn(into, field.jsonName)) throw twice(field);
    into[field.jsonName] = valueOf(field, query.getAll(name));
  }
  return fields;
}

const placesOf = (type: DescMessage, within?: string): Place[] =>
  type.fields.flatMap((field) =>
    field.fieldKind === 'message' && field.message.typeName === LIFTED
      ? placesOf(field.message, field.jsonName)
      : [{ field, within }],
  );

function valueOf(field: DescField, given: readonly string[]): JsonValue {
  if (field.fieldKind === 'list') return [...given];
  if (field.fieldKind === 'map' || field.fieldKind === 'message')
    throw invalidArgument(`${field.jsonName} cannot stand in a query`);
  const [value = '', ...more] = given;
  if (more.length > 0) throw twice(field);
  if (field.fieldKind === 'scalar' && field.scalar === ScalarType.BOOL) return boolOf(field, value);
  return value;
}

const twice = (field: DescField): Error => invalidArgument(`${field.jsonName} stands in the query more than once`);

function boolOf(field: DescField, value: string): boolean {
  if (value !== 'true' && value !== 'false')
    throw invalidArgument(`${field.jsonName} is true or false, not ${JSON.stringify(value.slice(0, 40))}`);
  return value === 'true';
}
