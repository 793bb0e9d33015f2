/** A file that a caller sends as the messages of a client-streaming method: first which object, then the bytes. Stores nothing. */
import type { IncomingHttpHeaders } from 'node:http';
import type { DescMessage } from '@bufbuild/protobuf';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Method } from '../call.ts';
import { requestOf } from './messages.ts';

export interface Upload {
  readonly variables: Readonly<Record<string, string>>;
  readonly headers: IncomingHttpHeaders;
  readonly pieces: AsyncIterable<Uint8Array>;
}

/** Fields of `begin` that are not in the path come as headers, because secrets never stand in a URL: Berth-Ticket. */
export async function* uploadOf(input: DescMessage, method: Method, from: Upload): AsyncGenerator<unknown> {
  const begin = input.fields.find((f) => f.fieldKind === 'message');
  const data = input.fields.find((f) => f.fieldKind === 'scalar');
  if (begin?.message === undefined || data?.oneof === undefined) throw new Error(`${input.typeName} is no upload`);
  // RFC 9110, 14.5: who sends a part of a file must hear when it would be taken for all of it
  if (from.headers['content-range'] !== undefined)
    throw invalidArgument(
      'Content-Range is not known here: what a file is sent from on says the header Berth-Offset, if any',
    );
  const fields: Record<string, string> = {};
  for (const f of begin.message.fields) {
    const value = from.variables[f.jsonName] ?? from.headers[`berth-${f.jsonName.toLowerCase()}`];
    if (typeof value !== 'string')
      throw invalidArgument(`an upload needs its ${f.jsonName}: the header Berth-${f.jsonName}`);
    fields[f.jsonName] = value;
  }
  yield method.requestDeserialize(requestOf(input, '', { [begin.jsonName]: fields }));
  for await (const value of from.pieces) yield { [data.oneof.localName]: { $case: data.localName, value } };
}
