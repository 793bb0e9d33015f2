/**
 * One HTTP request from its first line to its last byte: which method it means, its message, the same handler that gRPC
 * calls, and the answer. Decides nothing that gRPC would not decide: who may call is call.ts's.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { DescMethod, JsonObject } from '@bufbuild/protobuf';
import { HTTP_ROUTES } from '@berth/proto/http.ts';
import { invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { known } from '@berth/shared/errors/wire.ts';
import { CONTENT_TYPE as METRICS_TYPE } from '@berth/shared/metrics/exposition.ts';
import { newTraceId } from '@berth/shared/runtime/random.ts';
import { TRACEPARENT } from '@berth/shared/trace/context.ts';
import { noteFailed } from '../attempts.ts';
import { runCall, type Call, type CallDeps, type Handler, type Method } from '../call.ts';
import type { PublicService } from '../services.ts';
import { cutWhoDoesNotRead, cutWhoSendsOn, dress, sendError, sendJson, sendText } from './answer.ts';
import { hasBody, readPieces, readText, type BodyLimits, type Exchange } from './body.ts';
import { jsonOf, openMethods, requestOf } from './messages.ts';
import { OPENAPI } from './openapi.ts';
import { HttpProblem } from './problem.ts';
import { fieldsOfQuery } from './query.ts';
import type { Readiness } from './readiness.ts';
import { Router, type Found } from './router.ts';
import type { StreamLimits } from './sink.ts';
import { sendBytes, sendEvents } from './streams.ts';
import { uploadOf } from './upload.ts';

export interface HttpLimits {
  readonly body: BodyLimits;
  readonly stream: StreamLimits;
}

export interface GatewayOptions {
  readonly services: readonly PublicService[];
  readonly deps: CallDeps;
  readonly readiness: Readiness;
  readonly limits: HttpLimits;
}

/** Of files that programs read which insist on it. */
const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '/metrics': METRICS_TYPE,
  '/metrics/hosts/{host}': METRICS_TYPE,
  '/metrics/targets': 'application/json',
};

/** A method of the API with all that its request and answer need. */
interface Target {
  readonly method: Method;
  readonly handler: Handler<Method>;
  readonly described: DescMethod;
}

/** What one request has brought so far. */
interface Asked {
  readonly x: Exchange;
  readonly found: Found;
  readonly target: Target;
  readonly query: URLSearchParams;
  readonly traceId: string;
}

export class Gateway {
  readonly #router = new Router(HTTP_ROUTES);
  /** By path; made for the first request, so that a controller is ready sooner. */
  #targets: ReadonlyMap<string, Target> | undefined;

  constructor(private readonly o: GatewayOptions) {}

  /** Never rejects. */
  async handle(req: IncomingMessage, res: ServerResponse, expectsContinue = false): Promise<void> {
    const traceId = newTraceId();
    dress(res, traceId);
    const x = { req, res, expectsContinue };
    cutWhoSendsOn(x, this.o.deps.clock);
    try {
      await this.#answer(x, traceId);
    } catch (e) {
      const { log } = this.o.deps;
      const report = (_: string, err: unknown) => log.error({ traceId, err }, 'a request failed unexpectedly');
      sendError(x, known(e, report, traceId), traceId);
    }
  }

  async #answer(x: Exchange, traceId: string): Promise<void> {
    const { req, res } = x;
    const [path = '', query = ''] = splitOnce(req.url ?? '', '?');
    if (path === '/healthz') return sendText(res, 200, 'ok\n');
    if (path === '/readyz') return this.#sayReady(res);
    const { authorization } = req.headers;
    const peer = req.socket.remoteAddress ?? '';
    this.#identify(authorization, { path: `/${req.method} ${path}`, peer });
    if (path === '/openapi.json') return this.#send(res, OPENAPI);
    const found = this.#router.find(req.method ?? '', path);
    const target = (this.#targets ??= targetsOf(this.o.services)).get(found.route.rpc);
    if (target === undefined) throw new Error(`no handler for ${found.route.rpc}`);
    const hangup = new AbortController();
    res.once('close', () => hangup.abort());
    const long = found.route.kind !== 'json';
    const incoming = {
      path: found.route.rpc,
      shown: { authorization },
      peer,
      request: found.variables,
      hangup: hangup.signal,
      long,
      traceId,
      traceparent: req.headers[TRACEPARENT]?.toString(),
    };
    const asked = { x, found, target, query: new URLSearchParams(query), traceId };
    await runCall(incoming, this.o.deps, (call) => this.#call(asked, call));
  }

  /** Whoever has no token learns nothing, not even which paths there are. */
  #identify(authorization: string | undefined, by: { readonly path: string; readonly peer: string }): void {
    try {
      this.o.deps.authentication.authenticate({ authorization });
    } catch (e) {
      if (isClusterError(e))
        noteFailed(this.o.deps.audit, { ...by, shown: { authorization }, caller: undefined, about: undefined }, e);
      throw e;
    }
  }

  async #sayReady(res: ServerResponse): Promise<void> {
    const why = await this.o.readiness.whyNot();
    sendText(res, why === undefined ? 200 : 503, why === undefined ? 'ready\n' : `not ready: ${why}\n`);
  }

  async #call(asked: Asked, call: Call): Promise<void> {
    const { kind } = asked.found.route;
    if (kind === 'upload') return this.#upload(asked, call);
    if (kind === 'json') return this.#single(asked, call);
    const { deps, limits } = this.o;
    const streaming = {
      ...{ res: asked.x.res, method: asked.target.method, output: asked.target.described.output },
      answers: asked.target.handler((await this.#request(asked)) as never, call) as AsyncIterable<unknown>,
      ...{ call, traceId: asked.traceId, contentType: CONTENT_TYPES[asked.found.route.path] },
    };
    const send = kind === 'events' ? sendEvents : sendBytes;
    await send(streaming, { state: deps.state, clock: deps.clock, limits: limits.stream });
  }

  async #single(asked: Asked, call: Call): Promise<void> {
    const request: unknown = await this.#request(asked);
    await this.#reply(asked, await asked.target.handler(request as never, call));
  }

  async #upload(asked: Asked, call: Call): Promise<void> {
    const { x, found, target } = asked;
    const { limits, deps } = this.o;
    const pieces = readPieces(x, limits.body, deps.clock);
    const messages = uploadOf(target.described.input, target.method, {
      ...{ variables: found.variables, headers: x.req.headers, pieces },
    });
    await this.#reply(asked, await target.handler(messages as never, call));
  }

  async #reply({ x, target }: Asked, answer: unknown): Promise<void> {
    await this.o.deps.state.settled();
    this.#send(x.res, jsonOf(target.described.output, target.method.responseSerialize(answer)));
  }

  #send(res: ServerResponse, body: object | string): void {
    cutWhoDoesNotRead(res, this.o.limits.stream.slowMs);
    sendJson(res, 200, body);
  }

  async #request({ x, found, target, query }: Asked): Promise<unknown> {
    const { input } = target.described;
    const fields: JsonObject = { ...found.variables };
    const bodiless = found.route.verb === 'GET' || found.route.verb === 'DELETE';
    if (bodiless && hasBody(x.req))
      throw invalidArgument(`${found.route.verb} takes no body: put the fields into the query`);
    if (!bodiless && query.size > 0) throw invalidArgument(`${found.route.verb} takes its fields in the body`);
    if (bodiless) refuseMixed(fields, fieldsOfQuery(input, query));
    if (found.route.kind === 'events')
      resume(
        x.req,
        input.fields.some((f) => f.name === 'after_revision'),
        fields,
      );
    const body = bodiless ? '' : await readText(x, this.o.limits.body, this.o.deps.clock);
    return target.method.requestDeserialize(requestOf(input, body, fields));
  }
}

function targetsOf(services: readonly PublicService[]): ReadonlyMap<string, Target> {
  const described = openMethods();
  const targets = new Map<string, Target>();
  for (const { definition, handlers } of services)
    for (const [name, method] of Object.entries(definition)) {
      const desc = described.get(method.path);
      const handler = handlers[name];
      if (desc !== undefined && handler !== undefined) targets.set(method.path, { method, handler, described: desc });
    }
  return targets;
}

/** Adds the fields of the query to those of the path. */
function refuseMixed(fields: JsonObject, query: JsonObject): void {
  for (const [name, value] of Object.entries(query)) {
    if (name in fields) throw invalidArgument(`${name} stands in the path already: leave it out of the query`);
    fields[name] = value;
  }
}

/** An event source that comes again says which event it saw last. */
function resume(req: IncomingMessage, canResume: boolean, fields: JsonObject): void {
  const accept = req.headers.accept ?? '*/*';
  if (!/text\/event-stream|\*\/\*|text\/\*/.test(accept))
    throw new HttpProblem(406, 'INVALID_ARGUMENT', 'this path sends server-sent events: accept text/event-stream');
  const last = req.headers['last-event-id'];
  if (last !== undefined && last !== '' && canResume) fields['afterRevision'] = String(last);
}

function splitOnce(text: string, at: string): [string, string] {
  const i = text.indexOf(at);
  return i < 0 ? [text, ''] : [text.slice(0, i), text.slice(i + 1)];
}
