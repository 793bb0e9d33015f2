/** What the lab takes from the environment and from the process; nothing else of the lab reads either. */

/** testcontainers' reaper is an image to be pulled from a registry. The lab cleans up by label instead. */
export function disableReaper(): void {
  process.env.TESTCONTAINERS_RYUK_DISABLED = 'true';
}

/** The Node that runs this is the one that runs inside the hosts. */
export const nodeBinary: string = process.execPath;

export function dockerHost(): string | undefined {
  return process.env.DOCKER_HOST;
}

/** CI sets LAB_REQUIRED=1: a lab that cannot run is then a failure, not a reason to skip. */
export function labRequired(): boolean {
  return process.env.LAB_REQUIRED === '1';
}
