/** Server reflection from the .proto files, for people with grpcurl. Authorised like every other method. */
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Server } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';

/** The folder that holds `berth/v1`, from the sources as from the bundle; undefined when it is not there. */
function protoFolder(): string | undefined {
  for (let dir = dirname(fileURLToPath(import.meta.url)); dir !== dirname(dir); dir = dirname(dir)) {
    const candidate = join(dir, 'proto');
    if (existsSync(join(candidate, 'berth/v1'))) return candidate;
  }
  return undefined;
}

/** False when the .proto files are not there; everything else works without them. */
export function addReflection(server: Pick<Server, 'addService'>): boolean {
  const folder = protoFolder();
  if (folder === undefined) return false;
  const files = readdirSync(join(folder, 'berth/v1')).filter((f) => f.endsWith('.proto'));
  const definition = loadSync(
    files.map((f) => join('berth/v1', f)),
    { includeDirs: [folder], keepCase: true },
  );
  new ReflectionService(definition).addToServer(server as Server);
  return true;
}
