/** Types of command.js. */
export function writeCommand(outdir: string, name: string, source: string | Uint8Array): void;
