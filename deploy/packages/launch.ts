/**
 * How a program of the checkout starts Node: the first line of its file in bin/ says it, and the packages take it from there, so that
 * a lab host, an installation from a checkout and one from packages run alike.
 */
const LINE = /^#!\/usr\/bin\/env -S((?: [A-Z_]+=\S+)*) node((?: --\S+)*)$/;
/** Linux reads no more of a first line; what is cut off would be lost in silence. */
const MOST_CHARACTERS = 255;

export interface Launch {
  /** `NAME=value` each. */
  readonly environment: readonly string[];
  /** What Node gets before the program. */
  readonly flags: readonly string[];
}

/** Pure. @throws Error when the first line is not `#!/usr/bin/env -S [NAME=value…] node [--flag…]` */
export function launchOf(program: string): Launch {
  const first = program.split('\n', 1)[0] as string;
  const [, environment, flags] = LINE.exec(first) ?? [];
  if (environment === undefined || flags === undefined || first.length > MOST_CHARACTERS)
    throw new Error(`the first line of a program cannot be used in a package: ${first}`);
  const words = (text: string): string[] => text.split(' ').filter((word) => word !== '');
  return { environment: words(environment), flags: words(flags) };
}
