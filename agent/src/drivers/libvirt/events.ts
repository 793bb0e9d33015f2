/** Domain events: registers the ones the driver needs and says which domain to look at again. Unknown ones are ignored. */
import type { Log } from '@berth/shared/log/log.ts';
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { GuestEvent } from '../guest-agents.ts';
import type { Connection } from './connection.ts';
import { EVENT, PROC } from './procedures.ts';
import type { DeviceEvent } from './device-verbs.ts';
import type { DomainRef } from './types.ts';
import { decode } from './xdr.ts';

/** Lifecycle events that change the definition, or remove it: DEFINED and UNDEFINED. */
const LAST_DEFINITION_EVENT = 1;

/** Registers on a new connection. Only lifecycle is indispensable; an old libvirt may lack others. */
export async function registerEvents(connection: Connection, log: Log): Promise<void> {
  await Promise.all(
    Object.entries(EVENT).map(async ([name, event]) => {
      const args = { eventId: event.id, dom: undefined };
      try {
        await connection.call(PROC.registerEvent, args, `register for ${name} events`);
      } catch (e) {
        if (event === EVENT.lifecycle || isClusterError(e, 'HYPERVISOR_UNAVAILABLE')) throw e;
        log.warn({ err: e, event: name }, 'libvirt does not offer this event');
      }
    }),
  );
}

export type OnDomainEvent = (dom: DomainRef, definitionChanged: boolean) => void;

/** Who hears of what. */
export interface EventSinks {
  readonly log: Log;
  readonly changed: OnDomainEvent;
  readonly guest: (e: GuestEvent) => void;
  readonly device: (e: DeviceEvent) => void;
}

/** Handles one event message. */
export function handleEvent(procedure: number, payload: Buffer, { log, changed, guest, device }: EventSinks): void {
  switch (procedure) {
    case EVENT.lifecycle.number: {
      const { dom, event } = decode(EVENT.lifecycle.payload, payload);
      return changed(dom, event <= LAST_DEFINITION_EVENT);
    }
    case EVENT.metadata.number:
      return changed(decode(EVENT.metadata.payload, payload).dom, true);
    case EVENT.balloon.number:
      return changed(decode(EVENT.balloon.payload, payload).dom, false);
    case EVENT.ioError.number: {
      const { dom, path, reason, action } = decode(EVENT.ioError.payload, payload);
      log.warn({ domain: dom.name, uuid: dom.uuid, path, reason, action }, 'a disk of a domain fails');
      return changed(dom, false);
    }
    case EVENT.reboot.number: {
      const { dom } = decode(EVENT.reboot.payload, payload);
      log.info({ domain: dom.name, uuid: dom.uuid }, 'a guest rebooted');
      guest({ type: 'reset', uuid: dom.uuid });
      return changed(dom, false);
    }
    case EVENT.deviceRemoved.number:
    case EVENT.deviceKept.number: {
      const { dom, alias } = decode(EVENT.deviceRemoved.payload, payload);
      return device({ uuid: dom.uuid, alias });
    }
    case EVENT.agentLifecycle.number: {
      const { dom, state } = decode(EVENT.agentLifecycle.payload, payload);
      const connected = state === 1;
      log.debug({ domain: dom.name, uuid: dom.uuid, connected }, 'a guest agent came or went');
      return guest({ type: 'agent', uuid: dom.uuid, connected });
    }
  }
}
