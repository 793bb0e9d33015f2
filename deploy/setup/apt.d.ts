/** Types of apt.js. */
export type Tool = { readonly package: string } & ({ readonly command: string } | { readonly file: string });
export function missingTools(
  tools: readonly Tool[],
  searchPath: string,
  isExecutable?: (file: string) => boolean,
  exists?: (file: string) => boolean,
): Tool[];
export function installPackages(packages: readonly string[], log: string): Promise<void>;
export function installArguments(packages: readonly string[]): string[];
