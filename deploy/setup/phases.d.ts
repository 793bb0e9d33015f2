/** Types of phases.js. */
export interface SetupEvent {
  readonly phase: 'packages' | 'dependencies' | 'build' | 'engine' | 'host-image' | 'guest-image' | 'debian-image';
  readonly title: string;
  readonly state: 'start' | 'done' | 'fail';
  readonly detail: string;
  /** 0 when there was nothing to do. */
  readonly ms: number;
}

export interface Reporter {
  phase(
    phase: SetupEvent['phase'],
    announcement: string,
    satisfied: boolean,
    work: () => Promise<string>,
  ): Promise<void>;
}

export function reporter(say: (event: SetupEvent) => void, nowMs?: () => number): Reporter;
export function phaseLine(event: Pick<SetupEvent, 'title' | 'state' | 'detail' | 'ms'>): string;
export function durationText(ms: number): string;
