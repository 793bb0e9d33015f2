/** Types of obstacle.js. */
export function labObstacle(machine?: {
  platform?: string;
  arch?: string;
  exists?: (path: string) => boolean;
}): string | undefined;
