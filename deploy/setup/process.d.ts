/** Types of process.js. */
export class SetupError extends Error {}
export function lastWords(text: string): string;
