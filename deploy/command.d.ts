/** Types of command.js. */
export function writeCommand(outdir: string, name: string, source: string | Uint8Array): void;
export function launcher(bundle: string, cache: string): string;
