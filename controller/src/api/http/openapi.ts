/** The OpenAPI document as it is served: made from the protos, bundled with the program. */
import document from '@berth/proto/openapi.json' with { type: 'json' };

export const OPENAPI = `${JSON.stringify(document)}\n`;
