/**
 * Makes proto/gen from the .proto files with protoc and ts-proto, and what HTTP needs (describe.js). `--check` makes it elsewhere and compares, so that CI
 * notices stale or hand-edited generated code.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe } from './describe.js';

const here = dirname(fileURLToPath(import.meta.url));
const bin = (name) => join(here, '..', 'node_modules', '.bin', name);
const OPTIONS = [
  'outputServices=grpc-js',
  'esModuleInterop=true',
  'forceLong=bigint',
  'importSuffix=.ts',
  'env=node',
  'oneof=unions-value',
  'outputJsonMethods=false',
  'outputPartialMethods=true',
  'useExactTypes=false',
  'snakeToCamel=true',
  'removeEnumPrefix=true',
  'unrecognizedEnum=true',
];

const list = (dir) =>
  readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((e) => e.isFile())
    .map((e) => relative(dir, join(e.parentPath ?? e.path, e.name)))
    .sort();

function generate(out) {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const protos = ['berth', 'grpc'].flatMap((dir) => list(join(here, dir)).map((f) => join(dir, f)));
  execFileSync(
    bin('protoc'),
    [
      `--plugin=${bin('protoc-gen-ts_proto')}`,
      `--ts_proto_out=${out}`,
      `--ts_proto_opt=${OPTIONS.join(',')}`,
      `--proto_path=${here}`,
      ...protos,
    ],
    { stdio: 'inherit', cwd: here },
  );
  const publicApi = protos.filter((f) => f.startsWith(join('berth', 'v1')));
  describe({ protoc: bin('protoc'), root: here, files: publicApi, out });
}

const made = mkdtempSync(join(tmpdir(), 'berth-gen-'));
try {
  generate(made);
  const gen = join(here, 'gen');
  if (process.argv.includes('--check')) {
    const same =
      existsSync(gen) &&
      JSON.stringify(list(gen)) === JSON.stringify(list(made)) &&
      list(made).every((f) => readFileSync(join(gen, f)).equals(readFileSync(join(made, f))));
    if (!same) {
      console.error('proto/gen is not what the .proto files make. Run: npm run gen');
      process.exitCode = 1;
    }
  } else {
    rmSync(gen, { recursive: true, force: true });
    cpSync(made, gen, { recursive: true });
  }
} finally {
  rmSync(made, { recursive: true, force: true });
}
