/** A condition that is so now and wants somebody's attention. What makes one is controller/src/alarms. Plain data. */
export type AlarmSeverity = 'warning' | 'critical';
export type AlarmSubject = 'host' | 'vm' | 'job' | 'controller' | 'pool';

export interface Alarm {
  /** `<kind>/<id of the object>`. */
  readonly id: string;
  /** Stable, for scripts: `host-unreachable`. */
  readonly kind: string;
  readonly severity: AlarmSeverity;
  readonly subjectKind: AlarmSubject;
  /** Its name; of a job its id. */
  readonly subject: string;
  readonly message: string;
  /** What to do next. */
  readonly advice: string;
  /** When it began to be so, as far as is known. */
  readonly sinceMs: number;
}
