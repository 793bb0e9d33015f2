/** LogService on the wire: lines in messages that are not too large. */
import type { HostLogLine, LogServiceServer, ReadHostLogRequest } from '@berth/proto/agent/v1/log.ts';
import { printConfig, type AgentConfig } from '../config.ts';
import type { LogLine } from '../drivers/host-logs.ts';
import type { HostLog } from '../host/host-log.ts';
import { toNumber } from './decode.ts';
import { toWire } from './encode.ts';
import type { Guard } from './guard.ts';

const MESSAGE_CHARS = 64 << 10;

export const logService = (guard: Guard, log: HostLog, config: AgentConfig): LogServiceServer => ({
  readHostLog: guard.serverStream('ReadHostLog', async (q: ReadHostLogRequest, send, signal) => {
    const request = { ...q, sinceMs: toNumber('the time', q.sinceMs) };
    for await (const batch of log.read(request, signal))
      for (const lines of messages(batch)) await send({ lines: lines.map(encode) });
  }),
  getConfiguration: guard.read('GetConfiguration', async () => ({ yaml: printConfig(config) })),
});

const encode = (l: LogLine): HostLogLine => ({ atMs: toWire(l.atMs), text: l.text });

function* messages(lines: readonly LogLine[]): Generator<readonly LogLine[]> {
  let some: LogLine[] = [];
  let chars = 0;
  for (const l of lines) {
    some.push(l);
    chars += l.text.length + 16;
    if (chars < MESSAGE_CHARS) continue;
    yield some;
    [some, chars] = [[], 0];
  }
  if (some.length > 0) yield some;
}
