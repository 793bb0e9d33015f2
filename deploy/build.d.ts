/** Types of build.js. */
export function build(root?: string): Promise<string[]>;
export function buildFresh(root?: string): boolean;
export function resolveWorkspace(
  specifier: string,
  exportsOf: (workspace: string) => Readonly<Record<string, string>>,
): string | undefined;
