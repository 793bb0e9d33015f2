/** Documents from files, folders and standard input, each with where it stands. Reads; checks only that it is YAML with a kind and a name. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { parseDocuments, type YamlDocument } from '@berth/shared/yaml/documents.ts';
import type { Context } from '../core/context.ts';
import { readText, unreadable } from '../core/files.ts';

export interface Source extends YamlDocument {
  readonly file: string;
}

const LIMIT_BYTES = 16 << 20;
const MOST_FILES = 10_000;

/** @param path a file, a folder (its *.yaml, *.yml and *.json, and those of the folders in it), or - for standard input. */
export async function readSources(ctx: Pick<Context, 'stdin'>, path: string): Promise<readonly Source[]> {
  if (path === '-') return sources('standard input', await readAll(ctx));
  return filesOf(path).flatMap((file) => sources(file, readText(file)));
}

const sources = (file: string, text: string): readonly Source[] =>
  parseDocuments(file, text).map((d) => ({ ...d, file, lineOf: (path) => d.lineOf(path) }));

function filesOf(path: string): readonly string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const found = readdirSync(path, { recursive: true, withFileTypes: true })
      .filter((e) => e.isFile() && /\.(ya?ml|json)$/.test(e.name))
      .map((e) => join(e.parentPath, e.name))
      .sort();
    if (found.length > MOST_FILES) throw invalidArgument(`${path} has more than ${MOST_FILES} files`);
    if (found.length === 0) throw invalidArgument(`${path} has no *.yaml, *.yml or *.json in it`);
    return found;
  } catch (e) {
    throw 'code' in (e as object) ? unreadable(path, e as NodeJS.ErrnoException) : e;
  }
}

async function readAll({ stdin }: Pick<Context, 'stdin'>): Promise<string> {
  let text = '';
  for await (const chunk of stdin) {
    text += String(chunk);
    if (text.length > LIMIT_BYTES) throw invalidArgument('standard input is longer than 16 MiB');
  }
  return text;
}

/** `web.yaml:3: what is wrong` */
export const faultAt = (s: Source, path: readonly (string | number)[], why: string): string =>
  `${s.file}:${s.lineOf(path)}: ${why}`;
