/** Types of recipe.js, for the TypeScript side of the lab. */
export const HOST_IMAGE: string;
export const CEPH_IMAGE: string;
export const CEPH_CHANGES: readonly string[];
export function cephImageTag(): string;
export function cephArguments(mirrors?: readonly string[]): string[];
export const IMAGE_CHANGES: readonly string[];
export function readNames(text: string): string[];
export function recipeHash(parts: Readonly<Record<string, string>>): string;
export function hostImageTag(): string;
export function guestImagePath(): string;
export function mmdebstrapArguments(mirrors?: readonly string[]): string[];
export function downloadHook(packages: readonly string[]): string;
export function mirrorLines(indexTargets: string): string[];
export function kernelHook(): string;
export function storageGuestPath(): string;
export function storageArguments(out: string, mirrors?: readonly string[]): string[];
export function debianImagePath(): string;
export function debianArguments(out: string, mirrors?: readonly string[]): string[];
