/** Types of setup.js, for programs that are bundled. */
import type { SetupEvent } from './setup/phases.js';

export interface SetupResult {
  /** Dependencies and build are there; otherwise `reason` says why not. */
  readonly ready: boolean;
  readonly reason?: string;
  readonly lab?: { readonly image: string; readonly guestImage: string; readonly socketPath: string };
  /** Why the lab cannot run, in one line. */
  readonly labReason?: string;
}

export function ensureSetup(options: {
  lab: boolean;
  tests?: boolean;
  say?: (event: SetupEvent) => void;
}): Promise<SetupResult>;
