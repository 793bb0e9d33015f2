/** The file /usr/share/doc/PACKAGE/copyright: Berth's own licence, then that of every library inside. Pure, but for reading their texts. */
import type { Library } from './libraries.ts';

const OURS = `Berth, a cluster manager for KVM hosts.
Copyright: the Berth authors.
Licensed under the Apache License, Version 2.0, whose text is on Debian systems in
/usr/share/common-licenses/Apache-2.0.
`;
const APACHE = /Apache License[\s\S]*TERMS AND CONDITIONS FOR USE/;

/** Pure. @param textsOf what a library says itself. */
export function copyrightFile(libraries: readonly Library[], textsOf: (library: Library) => readonly string[]): string {
  const groups = new Map<string, Library[]>();
  for (const library of libraries) {
    const texts = textsOf(library).map((text) => (APACHE.test(text) ? apacheNotice(text) : text));
    const said = texts.length > 0 ? texts : [elsewhere(library.license)];
    const key = [`Licence: ${library.license}`, ...said].join('\n\n');
    groups.set(key, [...(groups.get(key) ?? []), library]);
  }
  const parts = [...groups].map(([text, users]) => `${nameAll(users)}\n\n${text}\n`);
  if (parts.length === 0) return OURS;
  const intro = 'Inside are these libraries, under licences of their own:\n';
  return [OURS, intro, ...parts].join(`\n${'-'.repeat(76)}\n\n`);
}

const nameAll = (users: readonly Library[]): string => users.map((l) => `${l.name} ${l.version}`).join(', ');

/** Debian has the text once for all; what stands around it is the library's own. */
function apacheNotice(text: string): string {
  const holder = /^\s*Copyright (?!\[|owner|License|notice|holder)[^\n]*\d{4}[^\n]*$/m.exec(text)?.[0].trim();
  return `${holder === undefined ? '' : `${holder}\n`}The text of the Apache License, Version 2.0, is in /usr/share/common-licenses/Apache-2.0.`;
}

/** Of libraries that bring no text. */
const COMMON = [
  ['Apache-2.0', '/usr/share/common-licenses/Apache-2.0'],
  ['BSD-3-Clause', 'https://spdx.org/licenses/BSD-3-Clause.html'],
] as const;
function elsewhere(license: string): string {
  const places = COMMON.filter(([name]) => license.includes(name)).map(([name, place]) => `${name}: ${place}`);
  return places.length > 0 ? places.join('\n') : 'It brings no text; the name is that of https://spdx.org/licenses/.';
}
