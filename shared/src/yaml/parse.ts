/** YAML as configuration files have it: what the library only warns of (on standard error, as Node's warnings) is a fault here. */
import { parseDocument } from 'yaml';

/** A few lines of aliases of aliases can fill any memory. */
const MOST_ALIASES = 100;

/** @throws Error with one line that says what is wrong and where. */
export function parseYaml(text: string): unknown {
  const doc = parseDocument(text, { logLevel: 'error' }); // errors and warnings are looked at here
  const fault = doc.errors[0] ?? doc.warnings[0];
  if (fault) throw new Error(fault.message.split('\n')[0]?.replace(/:$/, ''));
  return doc.toJS({ maxAliasCount: MOST_ALIASES }) as unknown;
}
