/** Puts authentication in front of services that come from libraries and know nothing of it (reflection). */
import type { Server, ServerDuplexStream, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { toStatus } from '@berth/shared/errors/wire.ts';
import { admit, type CallDeps } from './call.ts';
import { shownBy } from './wrap.ts';

type BidiHandler = (call: ServerDuplexStream<unknown, unknown>) => void;

/** Looks like the server to the library; each of its methods is guarded. */
export const guardReflection = (server: Server, deps: CallDeps): Pick<Server, 'addService'> => ({
  addService(definition, implementation) {
    server.addService(definition, guarded(definition, implementation, deps));
  },
});

function guarded(
  definition: ServiceDefinition,
  implementation: UntypedServiceImplementation,
  deps: CallDeps,
): UntypedServiceImplementation {
  const entries = Object.entries(implementation).map(([name, handler]) => {
    const method = definition[name] ?? Object.values(definition).find((m) => m.originalName === name);
    const handle: BidiHandler = (call) => {
      try {
        admit(method?.path ?? '', shownBy(call), deps);
      } catch (e) {
        call.emit(
          'error',
          toStatus(e, (traceId, cause) => deps.log.error({ traceId, err: cause }, 'reflection')),
        );
        return;
      }
      deps.stopping.addEventListener('abort', () => call.end(), { once: true });
      (handler as BidiHandler)(call);
    };
    return [name, handle];
  });
  return Object.fromEntries(entries) as UntypedServiceImplementation;
}
