/** EventService: what happened. */
import type { Event as WireEvent, EventServiceService } from '@berth/proto/v1/event.ts';
import type { Event } from '@berth/shared/model/event.ts';
import type { Events } from '../app/events.ts';
import { fromWire, toWire } from './numbers.ts';
import type { Handlers } from './call.ts';
import type { Scope } from './scope.ts';

export const eventHandlers = (events: Events, scope: Scope): Handlers<EventServiceService> => ({
  listEvents: async (r, call) => {
    const afterRevision = fromWire('after_revision', r.afterRevision);
    const found = await events.list(
      { limit: r.limit, afterRevision, subject: r.subject },
      call.access.everywhere('viewer') ? undefined : (e) => scope.seesEvent(call, e),
    );
    return { events: found.map(toEvent) };
  },
  watchEvents: async function* (r, call) {
    const afterRevision = fromWire('after_revision', r.afterRevision);
    for await (const { event, resumeAfter } of events.watch(afterRevision, call.signal))
      if (scope.seesEvent(call, event)) yield { ...toEvent(event), resumeAfter: toWire(resumeAfter) };
  },
});

const toEvent = (e: Event): WireEvent => ({
  revision: toWire(e.revision),
  atMs: toWire(e.atMs),
  type: e.type,
  severity: e.severity,
  subjectKind: e.subjectKind,
  subject: e.subject,
  message: e.message,
  jobId: e.jobId ?? '',
  resumeAfter: 0n,
});
