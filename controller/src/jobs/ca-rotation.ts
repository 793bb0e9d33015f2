/** The contract between the job ca.rotate and what keeps the CAs (trust/rotation.ts). Types only. */
/** Every call may be repeated. */
export interface CaRotation {
  begin(id: string): Promise<void>;
  /** Takes `begin` back; the new CAs have signed nothing yet. */
  abandon(id: string): Promise<void>;
  /** New certificates come from the new CAs from now on. */
  issue(id: string): Promise<void>;
  /** The old CAs go, and the controller shows a certificate of the new one. */
  finish(id: string): Promise<void>;
  /** Names of hosts that do not trust the new CAs yet. */
  untold(): readonly string[];
  /** Names of hosts that hold certificates of the old CAs still. */
  unissued(): readonly string[];
  /** Somebody said not to wait any longer. */
  hurried(): boolean;
}
