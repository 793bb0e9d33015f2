/** Takes secrets out of plain data before it is shown or recorded: by the name of the field, at any depth. Pure. */

const SECRET =
  /^(userData|firstBoot|password|passwordHash|oldPassword|secret|secretHash|ticket|ticketHash|uploadTicket|token|joinToken|tokenSecret|privateKey|keyPem|certificatePem|authorization)$/;
const REDACTED = '[redacted]';
const DEEPEST = 12;

/** A copy; an empty secret stays empty, so that one sees that there is none. */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (depth > DEEPEST) return '…';
  if (Array.isArray(value)) return value.map((v) => redact(v, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([k, v]) => [k, SECRET.test(k) && isText(v) ? REDACTED : redact(v, depth + 1)]),
  );
}

const isText = (v: unknown): boolean => typeof v === 'string' && v !== '';
