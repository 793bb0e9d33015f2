/** Types of root.js. */
export function findRoot(from?: string): string;
export function stateDirectory(root?: string): string;
