/** The OpenAPI 3.1 document of the public API, from the protos with their comments, and the paths of http-rule.js. Pure. */

const JSON_BODY = 'application/json';
const WIDE = new Set(['int64', 'uint64', 'sint64', 'fixed64', 'sfixed64']);
/** Fields of a request that stand in the query as if they were the request's own. */
const LIFTED = 'berth.v1.PageRequest';

/** @param routes [{ service, method, verb, path, kind }] @param comment of a descriptor. @param info title, version … */
export function openapi({ routes, types, comment, info }) {
  const schemas = Object.fromEntries(
    types.map((t) => [t.name, t.kind === 'enum' ? enumSchema(t, comment) : messageSchema(t, comment)]),
  );
  const paths = {};
  for (const route of routes) {
    const at = (paths[route.path] ??= {});
    at[route.verb.toLowerCase()] = operation(route, comment);
  }
  return {
    openapi: '3.1.1',
    info,
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    tags: [...new Set(routes.map((r) => r.service))].map((s) => ({ name: s.name, ...described(comment(s)) })),
    paths: { ...paths, ...HEALTH },
    components: {
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description: 'As `berth token create` shows it: `<token id>.<secret>`.',
        },
      },
      responses: {
        Error: { description: 'Refused or failed; `error.message` says why.', content: json(ref('Error')) },
      },
      schemas: { ...schemas, Error: ERROR },
    },
  };
}

const described = (text) => (text === '' ? {} : { description: text });
const ref = (name) => ({ $ref: `#/components/schemas/${name}` });
const json = (schema) => ({ [JSON_BODY]: { schema } });

function operation(route, comment) {
  const { service, method, kind } = route;
  const inPath = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
  const base = { operationId: method.name, tags: [service.name], ...described(comment(method)) };
  const responses = { 200: answerOf(route), default: { $ref: '#/components/responses/Error' } };
  if (kind === 'upload') return { ...base, ...uploadOf(method, inPath, comment), responses };
  const fields = method.input.fields;
  const parameters = inPath.map((name) => parameter(fieldOf(fields, name), 'path', comment));
  const others = fields.filter((f) => !inPath.includes(f.jsonName));
  if (route.verb === 'GET' || route.verb === 'DELETE')
    return {
      ...base,
      parameters: [...parameters, ...others.flatMap((f) => inQuery(f, comment)), ...resume(kind)],
      responses,
    };
  const schema = inPath.length === 0 ? ref(method.input.name) : { ...objectOf(others, comment), ...CLOSED };
  return { ...base, parameters, requestBody: { content: json(schema), required: others.length > 0 }, responses };
}

const fieldOf = (fields, name) => {
  const found = fields.find((f) => f.jsonName === name);
  if (found === undefined) throw new Error(`no field ${name} for the path`);
  return found;
};

function inQuery(field, comment) {
  if (field.fieldKind === 'message' && field.message.typeName === LIFTED)
    return field.message.fields.map((f) => parameter(f, 'query', comment));
  if (field.fieldKind === 'message' || field.fieldKind === 'map')
    throw new Error(`${field.parent.name}.${field.name} cannot stand in a query`);
  return [parameter(field, 'query', comment)];
}

const parameter = (field, where, comment) => ({
  name: field.jsonName,
  in: where,
  ...(where === 'path' ? { required: true } : {}),
  ...described(comment(field)),
  schema: schemaOf(field),
});

const resume = (kind) =>
  kind === 'events'
    ? [
        {
          name: 'Last-Event-ID',
          in: 'header',
          description: '`id` of the last event that was seen; goes on after it. Where the stream has ids.',
          schema: { type: 'string' },
        },
      ]
    : [];

function uploadOf(method, inPath, comment) {
  const begin = method.input.fields.find((f) => f.localName === 'begin').message;
  return {
    parameters: begin.fields.map((f) =>
      inPath.includes(f.jsonName)
        ? parameter(f, 'path', comment)
        : { ...parameter(f, 'header', comment), name: `Berth-${f.jsonName}`, required: true },
    ),
    requestBody: { required: true, content: { 'application/octet-stream': {} } },
  };
}

function answerOf({ method, kind }) {
  const schema = ref(method.output.name);
  if (kind === 'bytes') return { description: 'The bytes, as they come.', content: { 'application/octet-stream': {} } };
  if (kind !== 'events') return { description: method.output.name, content: json(schema) };
  const description = `Server-sent events; the data of each is one ${method.output.name}. An event \`error\` ends the stream.`;
  return { description, content: { 'text/event-stream': { schema } } };
}

const enumSchema = (t, comment) => ({
  type: 'string',
  enum: t.values.map((v) => v.name),
  ...described(enumText(t, comment)),
});

function enumText(t, comment) {
  const values = t.values.map((v) => [v.name, comment(v)]).filter(([, text]) => text !== '');
  return [comment(t), ...values.map(([name, text]) => `${name}: ${text}`)].filter((s) => s !== '').join('\n');
}

/** Requests with unknown fields are refused; answers may have more fields tomorrow. */
const CLOSED = { additionalProperties: false };

const messageSchema = (t, comment) => ({
  ...objectOf(t.fields, comment),
  ...(t.name.endsWith('Request') ? CLOSED : {}),
  ...described(comment(t)),
});

const objectOf = (fields, comment) => ({
  type: 'object',
  properties: Object.fromEntries(fields.map((f) => [f.jsonName, { ...schemaOf(f), ...described(comment(f)) }])),
});

function schemaOf(f) {
  if (f.fieldKind === 'list')
    return { type: 'array', items: f.listKind === 'scalar' ? scalar(f.scalar) : ref((f.message ?? f.enum).name) };
  if (f.fieldKind === 'map')
    return {
      type: 'object',
      additionalProperties: f.mapKind === 'scalar' ? scalar(f.scalar) : ref((f.message ?? f.enum).name),
    };
  return f.fieldKind === 'scalar' ? scalar(f.scalar) : ref((f.message ?? f.enum).name);
}

/** Numbers of ScalarType in @bufbuild/protobuf, as proto3's JSON writes them. */
function scalar(type) {
  const names = {
    1: 'double',
    2: 'float',
    3: 'int64',
    4: 'uint64',
    5: 'int32',
    8: 'bool',
    9: 'string',
    12: 'bytes',
    13: 'uint32',
  };
  const name = names[type];
  if (name === undefined) throw new Error(`scalar type ${type} has no schema yet`);
  if (name === 'string') return { type: 'string' };
  if (name === 'bool') return { type: 'boolean' };
  if (name === 'bytes') return { type: 'string', contentEncoding: 'base64' };
  if (WIDE.has(name))
    return { type: 'string', format: name, pattern: name.startsWith('u') ? '^[0-9]+$' : '^-?[0-9]+$' };
  if (name === 'double' || name === 'float') return { type: 'number', format: name };
  return { type: 'integer', format: name, ...(name === 'uint32' ? { minimum: 0 } : {}) };
}

const ERROR = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['code', 'status', 'reason', 'message', 'retry', 'meta', 'traceId'],
      properties: {
        code: { type: 'integer', description: 'The HTTP status.' },
        status: { type: 'string', description: 'The gRPC status, e.g. NOT_FOUND.' },
        reason: { type: 'string', description: "Why, as Berth's table of errors names it, e.g. IN_USE." },
        message: { type: 'string', description: 'One line for people: what, which object, why, what to do next.' },
        retry: { type: 'string', enum: ['never', 'later', 'same-request'] },
        meta: { type: 'object', additionalProperties: { type: 'string' }, description: 'Details for programs.' },
        traceId: { type: 'string', description: "The controller's log has this call under it." },
      },
    },
  },
};

const health = (description) => ({
  get: {
    description,
    security: [],
    responses: {
      200: { description: 'Yes.', content: { 'text/plain': {} } },
      503: { description: 'No; the text says why.' },
    },
  },
});
const HEALTH = {
  '/healthz': health('Whether the controller is alive. Needs no token.'),
  '/readyz': health('Whether the controller has its state loaded and can commit. Needs no token.'),
};
