/** SSH public keys as `authorized_keys` has them, a line each: which lines are keys, and what is read from files. No cryptography. */

/** `no-pty,command="a b"`: words between commas, with blanks only between quotes. */
const OPTIONS = String.raw`(?:[^\s"]|"(?:\\.|[^"\\])*")+`;
const TYPE = String.raw`(?:ssh|ecdsa|sk)-[a-z0-9@.-]+`;
const LINE = new RegExp(String.raw`^(?:${OPTIONS}[ \t]+)?${TYPE}[ \t]+[A-Za-z0-9+/=]+(?:[ \t][^\r\n]*)?$`);

const LONGEST = 16_384;

/** With options before it or none: `from="10.0.0.0/8" ssh-ed25519 AAAA… me@home`. */
export const isSshKey = (line: string): boolean => line.length <= LONGEST && LINE.test(line);

/** The lines of a file of keys, without comments; whether they are keys is not looked at. At least one, which may be empty. */
export function sshKeyLines(text: string): readonly string[] {
  const lines = text
    .replace(/^\uFEFF/, '')
    .split(/\r\n|\r|\n/)
    .map((l) => l.trim())
    .filter((l) => l !== '' && !l.startsWith('#'));
  return lines.length > 0 ? lines : [''];
}
