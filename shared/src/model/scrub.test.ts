/** Secrets are taken out of text whatever they are written in, and what is none stays. */
import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newSecret } from '../runtime/random.ts';
import { encodeJoinLine, encodeLoginLine } from '../trust/lines.ts';
import { scrub } from './scrub.ts';

const SECRET = newSecret();
const PEM = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString();
const [, ...BODY] = PEM.trim().split('\n');
const common = { controller: 'c:7443', caPin: 'ab'.repeat(32) };

describe('text is scrubbed of', () => {
  it.each([
    ['a join line', encodeJoinLine({ ...common, tokenId: 'token-1', secret: SECRET })],
    ['a login line', encodeLoginLine({ ...common, token: `token-1.${SECRET}` })],
    ['a bearer token', `Authorization: Bearer token-01abcdef.${SECRET}`],
    ['a token', `used token-01abcdef.${SECRET} twice`],
    ['a bare secret', `ticket ${SECRET} refused`],
    ['JSON', JSON.stringify({ a: 1, password: 'my "s3cret" pass', userData: '#cloud-config\npassword: s3cret' })],
    ['JSON in JSON', JSON.stringify({ msg: JSON.stringify({ token: 's3cret', uploadTicket: 's3cret' }) })],
    ['YAML', 'vnc:\n  password: s3cret\n  passwd: "s3cret too"\n'],
    ['a command line', 'run --token=s3cret --client-secret s3cret DB_PASSWORD=s3cret'],
    ['a URL', 'fetch https://admin:s3cret@10.0.0.1/x'],
    ['QEMU', '-object secret,id=vnc0,data=s3cret,format=raw -object {"qom-type":"secret","id":"x","data":"s3cret"}'],
    ['a hash of a password', 'root:$6$salt$s3cretS3cretS3cret:1:2'],
    ['a header', 'Berth-Ticket: s3cret\nCookie: s3cret'],
    ['user data', 'user_data = s3cret'],
  ])('%s', (_, text) => {
    const clean = scrub(text);
    expect(clean).not.toContain('s3cret');
    expect(clean).not.toContain(SECRET);
    expect(clean).not.toMatch(/ey[A-Za-z0-9_-]{40}/);
    expect(clean).toContain('[redacted');
    expect(scrub(clean)).toBe(clean);
  });

  it.each([
    ['whole', PEM],
    ['on one line', PEM.replaceAll('\n', '\\n')],
    ['in YAML', PEM.replace(/^/gm, '    ')],
    ['without its end', PEM.slice(0, 150)],
    ['without its beginning', BODY.join('\n')],
    ['twice', `${PEM}between\n${PEM}`],
  ])('a private key %s', (how, text) => {
    const clean = scrub(`before\n${text}\nafter`);
    for (const line of BODY.slice(0, 2)) expect(clean).not.toContain(line.slice(0, 40));
    expect(clean).toContain('[redacted private key]');
    expect(clean).toMatch(how === 'without its beginning' ? /after$/ : /^before/);
  });
});

it('what is no secret stays as it is', () => {
  for (const text of [
    'the token of ann was revoked',
    'sha256:9f2ce1e2f0c8b5a7d3e4f5061728394a5b6c7d8e9f00112233445566778899aa',
    'vm-01m7zcr53200chmx8wvev1abcd started on h1 in 1.2 s',
    '52:54:00:12:34:56 192.168.1.1:7443 /var/lib/berth/volumes/volume-01m7zcr53200chmx8wvev.qcow2',
    '{"level":30,"msg":"the agent is up","port":7444}',
    '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----',
  ])
    expect(scrub(text)).toBe(text);
});

it('takes its time in proportion to the text, whatever it is', () => {
  for (const piece of [
    'A',
    '-----BEGIN PRIVATE KEY-----',
    '-----END PRIVATE KEY-----',
    'password',
    '--secret ',
    '"token":',
    '\\"',
    'secret,data',
    ' ',
    '://a:',
  ])
    scrub(piece.repeat(200_000 / piece.length));
  fc.assert(fc.property(fc.string({ maxLength: 2_000 }), (s) => scrub(scrub(s)).length <= 20 * (s.length + 1)));
}, 20_000);
