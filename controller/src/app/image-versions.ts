/** Versions and tags of images: who may be called what, and what a tag moves. Writes rows in the caller's update; starts nothing. */
import { alreadyExists, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { familyOf, joinImageName, LATEST, splitImageName } from '@berth/shared/model/image-name.ts';
import { latestOf, type Image } from '@berth/shared/model/image.ts';
import type { Tables, Tx } from '../state/state.ts';
import { checkVersion } from './names.ts';

const MOST_TAGS = 32;

/**
 * Makes room for a new image of this name. One without a version that is there already becomes a version of its own then, because
 * from now on its name alone means the newest. @throws ALREADY_EXISTS
 */
export function takeImageName(tx: Tx, ref: string): void {
  const { name, version } = splitImageName(ref);
  const versions = tx.images.versions(name);
  const same = versions.find((i) => i.name === ref);
  const tagged = versions.find((i) => i.tags?.includes(version));
  if (tagged && version !== '')
    throw alreadyExists(`${ref} is a tag, of image ${tagged.name}. Take it away first (berth image untag ${ref})`);
  if (same || (version === '' && versions.length > 0))
    throw alreadyExists(
      `image ${ref} exists already. Choose another name (--name), or say which version of it this is ` +
        `(--name ${name}:${nextVersion(versions)})`,
    );
  const bare = versions.find((i) => i.name === name);
  if (bare) giveVersion(tx, bare, versions, version);
}

/** @param taken is about to be another's. */
function giveVersion(tx: Tx, image: Image, versions: readonly Image[], taken: string): void {
  const name = joinImageName({ name: image.name, version: nextVersion(versions, taken) });
  tx.images.put({ ...image, name });
  const message = `image ${image.name} is called ${name} now, because it has another version`;
  tx.event({
    type: 'image.renamed',
    ...{ severity: 'info', subjectKind: 'image', subject: name, message, jobId: undefined },
  });
}

/** The first number that none of them has, as version or tag. */
function nextVersion(versions: readonly Image[], ...taken: readonly string[]): string {
  const has = new Set([...taken, ...versions.flatMap((i) => [splitImageName(i.name).version, ...(i.tags ?? [])])]);
  for (let n = versions.some((i) => i.name.includes(':')) || taken.length > 0 ? 1 : 2; ; n++)
    if (!has.has(String(n))) return String(n);
}

export interface TagChange {
  readonly set: readonly string[];
  readonly remove: readonly string[];
}

/** Tags of an image change, and those of the versions that had them before. @param wanted `stable` or `debian:stable`. */
export function retag(tx: Tx, image: Image, wanted: TagChange): Image {
  const family = familyOf(image.name);
  const [set, remove] = [wanted.set, wanted.remove].map((all) => all.map((t) => tagOf(family, t))) as [
    string[],
    string[],
  ];
  const versions = tx.images.versions(family);
  for (const tag of set) {
    const version = versions.find((i) => i.name === joinImageName({ name: family, version: tag }));
    if (version) throw alreadyExists(`${version.name} is a version, which a tag can't be called`);
    if (remove.includes(tag)) throw invalidArgument(`tag ${tag} can't be both set and taken away`);
  }
  for (const other of versions)
    if (other.id !== image.id && other.tags?.some((t) => set.includes(t))) tx.images.put(tagged(other, [], set));
  const after = tagged(image, set, remove);
  if ((after.tags?.length ?? 0) > MOST_TAGS) throw invalidArgument(`an image has at most ${MOST_TAGS} tags`);
  tx.images.put(after);
  return after;
}

function tagged({ tags = [], ...image }: Image, set: readonly string[], remove: readonly string[]): Image {
  const after = [...new Set([...tags.filter((t) => !remove.includes(t)), ...set])].sort();
  return after.length > 0 ? { ...image, tags: after } : image;
}

function tagOf(family: string, text: string): string {
  const { name, version } = text.includes(':') ? splitImageName(text) : { name: family, version: text };
  if (name !== family)
    throw invalidArgument(`${text.slice(0, 80)} can be a tag of versions of image ${name}, not of ${family}`);
  return checkVersion(version);
}

/** As people see them: with `latest`, where the name alone means this one of several. */
export function shownTags(tables: Pick<Tables, 'images'>, image: Image): readonly string[] {
  const tags = image.tags ?? [];
  if (!image.name.includes(':') || tags.includes(LATEST)) return tags;
  const isLatest = latestOf(tables.images.versions(familyOf(image.name)))?.id === image.id;
  return isLatest ? [LATEST, ...tags] : tags;
}
