/**
 * Makes what the HTTP border needs from the protos: descriptors.ts (for proto3's JSON), http.ts (which path is which method)
 * and openapi.json. Called by generate.js; it decides nothing: http-rule.js and openapi.js do.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { clearField, clone, createFileRegistry, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { GRPC_ONLY, httpOf } from './http-rule.js';
import { openapi } from './openapi.js';

const HEAD = (what) => `/* eslint-disable */\n// ${what} Made by npm run gen. DO NOT EDIT.\n`;

/** @param protoc the compiler. @param root of the protos. @param files of the public API. @param out folder. */
export function describe({ protoc, root, files, out }) {
  const binary = join(out, 'descriptors.tmp');
  execFileSync(
    protoc,
    [`--descriptor_set_out=${binary}`, '--include_source_info', '--include_imports', `--proto_path=${root}`, ...files],
    { stdio: 'inherit', cwd: root },
  );
  const set = fromBinary(FileDescriptorSetSchema, readFileSync(binary));
  rmSync(binary);
  const registry = createFileRegistry(set);
  const all = [...registry.files].filter((f) => f.proto.package.startsWith('berth.'));
  const routes = all.flatMap((file) => file.services.flatMap(routesOf));
  refuseTwice(routes);
  const comment = commentsOf(all);
  const types = all.flatMap((file) => [...file.enums, ...file.messages]).sort((a, b) => (a.name < b.name ? -1 : 1));
  const info = {
    title: 'Berth',
    version: 'v1',
    description: 'The public API of a Berth controller as JSON over HTTPS.',
  };
  writeFileSync(join(out, 'berth', 'descriptors.ts'), descriptorsFile(set));
  writeFileSync(join(out, 'berth', 'http.ts'), routesFile(routes));
  writeFileSync(
    join(out, 'berth', 'openapi.json'),
    `${JSON.stringify(openapi({ routes, types, comment, info }), null, 2)}\n`,
  );
}

function routesOf(service) {
  return service.methods.flatMap((method) => {
    const http = httpOf(service, method);
    return http === undefined ? [] : [{ service, method, ...http }];
  });
}

function refuseTwice(routes) {
  const seen = new Map();
  for (const r of routes) {
    const key = `${r.verb} ${r.path.replace(/\{\w+\}/g, '{}')}`;
    if (seen.has(key)) throw new Error(`${r.method.name} and ${seen.get(key)} are both ${key}: see proto/http-rule.js`);
    seen.set(key, r.method.name);
  }
}

/** A line of context between the files, so that changes of two files merge. */
function descriptorsFile(set) {
  const rows = set.file.map((file) => {
    const bare = clone(FileDescriptorProtoSchema, file);
    clearField(bare, FileDescriptorProtoSchema.field.sourceCodeInfo);
    const base64 = Buffer.from(toBinary(FileDescriptorProtoSchema, bare)).toString('base64');
    return `  // ${file.name}\n  '${base64}',\n`;
  });
  return `${HEAD('FileDescriptorProto of each file of the public API, base64; a file stands after those that it imports.')}
export const DESCRIPTORS: readonly string[] = [\n${rows.join('\n')}];\n`;
}

function routesFile(routes) {
  const rows = routes.map(
    (r) =>
      `  { verb: '${r.verb}', path: '${r.path}', kind: '${r.kind}', rpc: '/${r.service.typeName}/${r.method.name}' },\n`,
  );
  const only = Object.entries(GRPC_ONLY).map(
    ([m, why]) => `  '/berth.v1.${m.replace('.', '/')}': ${JSON.stringify(why)},\n`,
  );
  return `${HEAD('Which path of the JSON API is which method: proto/http-rule.js applied to the protos.')}
export interface HttpRoute {
  readonly verb: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  /** json: one answer. events: server-sent events. bytes: a file. upload: a file from the caller. */
  readonly kind: 'json' | 'events' | 'bytes' | 'upload';
  readonly rpc: string;
}

export const HTTP_ROUTES: readonly HttpRoute[] = [\n${rows.join('')}];

/** Not served by HTTP, and why. */
export const GRPC_ONLY: Readonly<Record<string, string>> = {\n${only.join('')}};\n`;
}

/** The comment before each definition, by its descriptor, as one paragraph. */
function commentsOf(files) {
  const texts = new Map();
  for (const file of files) {
    const at = new Map(
      file.proto.sourceCodeInfo.location.map((l) => [
        l.path.join('.'),
        (l.leadingComments || l.trailingComments || '').trim(),
      ]),
    );
    const note = (desc, path) =>
      texts.set(
        desc,
        (at.get(path) ?? '')
          .split('\n')
          .map((l) => l.trim())
          .join(' '),
      );
    file.proto.messageType.forEach((m, i) => m.field.forEach((f, j) => note(f, `4.${i}.2.${j}`)) ?? note(m, `4.${i}`));
    file.proto.enumType.forEach((e, i) => e.value.forEach((v, j) => note(v, `5.${i}.2.${j}`)) ?? note(e, `5.${i}`));
    file.proto.service.forEach((s, i) => s.method.forEach((m, j) => note(m, `6.${i}.2.${j}`)) ?? note(s, `6.${i}`));
  }
  return (desc) => texts.get(desc.proto) ?? '';
}
