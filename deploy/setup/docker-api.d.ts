/** Types of docker-api.js. */
export function dockerSocket(dockerHost: string | undefined): string;
export function engineAnswers(socketPath: string): Promise<boolean>;
export function imageExists(socketPath: string, tag: string): Promise<boolean>;
