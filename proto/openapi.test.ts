/** The OpenAPI document as it is committed: valid, whole, and saying what the protos say. That it is fresh is `npm run check`'s. */
import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, it } from 'vitest';
import document from './gen/berth/openapi.json' with { type: 'json' };
import { HTTP_ROUTES } from './gen/berth/http.ts';

type Operation = { readonly operationId?: string; readonly description?: string; readonly security?: unknown[] };
const paths = document.paths as Readonly<Record<string, Readonly<Record<string, Operation>>>>;

describe('the OpenAPI document', () => {
  it('is valid OpenAPI 3.1', async () => {
    const validator = new Validator();
    const result = await validator.validate(structuredClone(document));
    expect(result.valid ? [] : result.errors).toEqual([]);
    expect(validator.version).toBe('3.1');
  });

  it('has every route of the table, and besides them only health', () => {
    const there = Object.entries(paths).flatMap(([path, verbs]) =>
      Object.keys(verbs).map((verb) => `${verb.toUpperCase()} ${path}`),
    );
    expect(there.sort()).toEqual(
      [...HTTP_ROUTES.map((r) => `${r.verb} ${r.path}`), 'GET /healthz', 'GET /readyz'].sort(),
    );
  });

  it('refers to nothing that it has not', () => {
    const schemas = Object.keys(document.components.schemas);
    const refs = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name);
    expect(refs.filter((name) => !schemas.includes(name ?? ''))).toEqual([]);
  });

  it('carries the comments of the protos', () => {
    expect(paths['/v1/vms/{vm}:start']?.['post']?.description).toMatch(/^Running already is fine/);
    expect(document.components.schemas.Host.properties.address.description).toBe('host:port of its agent.');
    expect(document.components.schemas.VmState.description).toMatch(/VM_STATE_MISSING: Its host reports/);
  });

  it('asks for a token everywhere but for health', () => {
    const open = Object.entries(paths).filter(([, verbs]) =>
      Object.values(verbs).some((o) => o.security?.length === 0),
    );
    expect(open.map(([path]) => path)).toEqual(['/healthz', '/readyz']);
  });
});
