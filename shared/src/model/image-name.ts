/**
 * Names of images: `debian:12.3` is a version of the image `debian`, whose other versions have the same first part. What is allowed,
 * and how they come apart. Which version `debian` alone means is the table's, because tags and ages decide it.
 */

export interface ImageName {
  readonly name: string;
  /** Empty: none said. */
  readonly version: string;
}

/** The version that nobody gives an image: the newest, unless somebody says which. */
export const LATEST = 'latest';
const VERSION = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

export const isVersion = (text: string): boolean => VERSION.test(text);

export function splitImageName(ref: string): ImageName {
  const cut = ref.indexOf(':');
  return cut < 0 ? { name: ref, version: '' } : { name: ref.slice(0, cut), version: ref.slice(cut + 1) };
}

export const joinImageName = ({ name, version }: ImageName): string => (version === '' ? name : `${name}:${version}`);

/** `debian` of `debian:12.3`. */
export const familyOf = (ref: string): string => splitImageName(ref).name;
