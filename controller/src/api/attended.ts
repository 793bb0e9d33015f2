/** What comes before every handler, whatever brought the call: which object is it about, and may the caller reach that? */
import { aboutOf } from './attempts.ts';
import type { Call, Handler, Method } from './call.ts';
import type { Scope } from './scope.ts';

type One = (request: unknown, call: Call) => Promise<unknown>;
type Many = (request: unknown, call: Call) => AsyncIterable<unknown>;

export function attended(method: Method, handler: Handler<Method>, scope: Scope): Handler<Method> {
  const check = async (request: unknown, call: Call): Promise<void> => {
    call.noteAbout(aboutOf(method.path, request));
    const ask = () => scope.check(method.path, request, call);
    await ask();
    call.keepAsking(ask);
  };
  const guarded = method.requestStream
    ? bidi(handler as unknown as Many, check)
    : method.responseStream
      ? streaming(handler as unknown as Many, check)
      : single(handler as unknown as One, check, scope);
  return guarded as unknown as Handler<Method>;
}

type Check = (request: unknown, call: Call) => Promise<void>;

const single =
  (handler: One, check: Check, scope: Scope): One =>
  async (request, call) => {
    await check(request, call);
    try {
      return await handler(request, call);
    } catch (e) {
      throw scope.redact(e, call);
    }
  };

const streaming = (handler: Many, check: Check): Many =>
  async function* (request, call) {
    await check(request, call);
    yield* handler(request, call);
  };

/** The first message says which object; the handler gets it all the same. */
function bidi(handler: Many, check: Check): Many {
  const opened = async function* (messages: AsyncIterable<unknown>, call: Call): AsyncGenerator<unknown> {
    let first = true;
    for await (const message of messages) {
      if (first) await check(firstOf(message), call);
      first = false;
      yield message;
    }
  };
  return (messages, call) => handler(opened(messages as AsyncIterable<unknown>, call), call);
}

/** `{ message: { $case: 'open', value } }` → value. */
const firstOf = (m: unknown): unknown => (m as { message?: { value?: unknown } } | null)?.message?.value ?? {};
