/** Types of debian-image.js, for the TypeScript side of the lab. */
export function installGuestExists(): boolean;
export function buildInstallGuest(socketPath: string): Promise<string>;
