/** Files with several YAML documents, of which each place can be named by its line. JSON is YAML too. No files are read here. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseAllDocuments, type Document, type Node } from 'yaml';
import { invalidArgument } from '../errors/cluster-error.ts';

/** A few lines of aliases of aliases can fill any memory. */
const MOST_ALIASES = 100;

export interface YamlDocument {
  readonly value: unknown;
  /** Where it begins. */
  readonly line: number;
  /** The line of a field, or of the last part of its path that is there. */
  lineOf(path: readonly (string | number)[]): number;
}

/** Without the empty ones. @param file for the words of a refusal. @throws INVALID_ARGUMENT `web.yaml:3: what is wrong` */
export function parseDocuments(file: string, text: string): readonly YamlDocument[] {
  const lines = new LineCounter();
  const docs = parseAllDocuments(text, { lineCounter: lines, logLevel: 'error' });
  if (!Array.isArray(docs)) return [];
  const faults = docs.flatMap((d) => [...d.errors, ...d.warnings]);
  if (faults.length > 0)
    throw invalidArgument(
      faults
        .map((f) => `${file}:${lines.linePos(f.pos[0]).line}: ${f.message.split('\n')[0]?.replace(/ at line.*$/, '')}`)
        .join('\n'),
    );
  return docs.filter((d) => d.contents !== null && !isNothing(d.contents)).map((d) => document(file, d, lines));
}

const isNothing = (n: Node): boolean => isScalar(n) && n.value === null;

function document(file: string, doc: Document.Parsed, lines: LineCounter): YamlDocument {
  const lineAt = (n: Node | null | undefined): number => lines.linePos(n?.range?.[0] ?? 0).line;
  const line = lineAt(doc.contents);
  try {
    const value = doc.toJS({ maxAliasCount: MOST_ALIASES }) as unknown;
    return { value, line, lineOf: (path) => lineAt(placeOf(doc, path)) };
  } catch (e) {
    throw invalidArgument(`${file}:${line}: ${(e as Error).message}`);
  }
}

/** Of a field, its name: its value may be lines further down. */
function placeOf(doc: Document.Parsed, path: readonly (string | number)[]): Node {
  let at = doc.contents as Node;
  let place = at;
  for (const key of path) {
    const node = isAlias(at) ? at.resolve(doc) : at;
    const pair = isMap(node)
      ? node.items.find((p) => isScalar(p.key) && String(p.key.value) === String(key))
      : undefined;
    const next = pair?.value ?? (isSeq(node) ? node.items[Number(key)] : undefined);
    place = (pair?.key ?? next ?? place) as Node;
    if (next === undefined || next === null) return place;
    at = next as Node;
  }
  return place;
}
