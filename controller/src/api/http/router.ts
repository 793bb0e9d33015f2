/** Which route a request means. Made from the generated table; knows nothing of what the routes do. Pure. */
import type { HttpRoute } from '@berth/proto/http.ts';
import { invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import { HttpProblem } from './problem.ts';

export interface Found {
  readonly route: HttpRoute;
  /** Names and ids in the path, decoded. */
  readonly variables: Readonly<Record<string, string>>;
}

interface Pattern {
  readonly route: HttpRoute;
  readonly names: readonly string[];
  readonly regexp: RegExp;
}

export class Router {
  /** By the number of segments, and within it in the order of the table. */
  readonly #patterns = new Map<number, Pattern[]>();

  constructor(routes: readonly HttpRoute[]) {
    for (const route of routes) {
      const names = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? '');
      const regexp = new RegExp(`^${route.path.replaceAll(/\{\w+\}/g, '([^/:]+)')}$`);
      const count = segmentsOf(route.path);
      this.#patterns.set(count, [...(this.#patterns.get(count) ?? []), { route, names, regexp }]);
    }
  }

  /** NOT_FOUND for no such path; 405, with those that it has, for another verb. */
  find(verb: string, path: string): Found {
    const here = (this.#patterns.get(segmentsOf(path)) ?? []).flatMap((p) => {
      const match = p.regexp.exec(path);
      return match === null ? [] : [{ ...p, match }];
    });
    const found = here.find(({ route }) => answers(route, verb));
    if (found === undefined)
      throw refusal(
        verb,
        path,
        here.map((h) => h.route),
      );
    return { route: found.route, variables: variablesOf(found.names, found.match) };
  }
}

const segmentsOf = (path: string): number => path.split('/', 12).length;

/** HEAD is GET without the body; `curl --data-binary @file` posts what `curl -T` puts. */
const answers = (route: HttpRoute, verb: string): boolean =>
  route.verb === verb || (verb === 'HEAD' && route.verb === 'GET') || (verb === 'POST' && route.kind === 'upload');

function refusal(verb: string, path: string, here: readonly HttpRoute[]): Error {
  if (here.length === 0)
    return notFound(`there is nothing at ${path.slice(0, 120)}: /openapi.json lists what there is`);
  const allow = [...new Set(here.map((r) => r.verb))].join(', ');
  return new HttpProblem(405, 'UNSUPPORTED', `${path.slice(0, 120)} takes ${allow}, not ${verb}`, { allow });
}

function variablesOf(names: readonly string[], match: RegExpExecArray): Record<string, string> {
  try {
    return Object.fromEntries(names.map((name, i) => [name, decodeURIComponent(match[i + 1] ?? '')]));
  } catch (e) {
    throw invalidArgument('the path is not percent-encoded as URLs are', {}, e);
  }
}
