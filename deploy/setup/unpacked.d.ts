/** Types of unpacked.js. */
export function unpackedTool(packageName: string, program: string, root?: string): string;
export function unpackPackage(packageName: string, root?: string, log?: string): Promise<void>;
