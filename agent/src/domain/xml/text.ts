/** Writing XML: elements as values, text and attributes escaped in one place. Not for reading. */

export type Attributes = Readonly<Record<string, string | number | undefined>>;
export type Node = string | undefined;

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};

/** Also drops what XML 1.0 cannot carry at all: control characters and lone surrogates. */
export const escapeXml = (s: string): string =>
  s
    .replace(/[\p{Surrogate}\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/gu, '')
    .replace(/[&<>"']/g, (c) => ESCAPES[c] as string)
    .replace(/[\n\r\t]/g, (c) => `&#${c.charCodeAt(0)};`);

const open = (name: string, attributes: Attributes): string =>
  `<${name}${Object.entries(attributes)
    .filter(([, v]) => v !== undefined)
    .map(([k, v]) => ` ${k}="${escapeXml(String(v))}"`)
    .join('')}`;

/** An element with child elements; without any, it is closed at once. Undefined children are left out. */
export function el(name: string, attributes: Attributes, ...children: readonly Node[]): string {
  const inner = children.filter((c): c is string => c !== undefined);
  if (inner.length === 0) return `${open(name, attributes)}/>`;
  const indented = inner.map((c) => c.replace(/^/gm, '  ')).join('\n');
  return `${open(name, attributes)}>\n${indented}\n</${name}>`;
}

/** An element that holds text. */
export const textEl = (name: string, attributes: Attributes, value: string | number): string =>
  `${open(name, attributes)}>${escapeXml(String(value))}</${name}>`;
