/** Lint: types used soundly, borders kept (time, randomness, processes, environment), sizes watched at the maximum. */
import tseslint from 'typescript-eslint';

const restricted = (...rules) => ({ 'no-restricted-syntax': ['error', ...rules] });
const ZOD = [
  {
    selector: 'ImportDeclaration[source.value="zod"] > ImportSpecifier',
    message:
      "import * as z from 'zod': of the object z every language of its messages stays in the bundle and in memory.",
  },
];
const TIME = [
  {
    selector: "MemberExpression[object.name='Date'][property.name='now']",
    message: 'Use the Clock of shared/src/runtime.',
  },
  {
    selector: "NewExpression[callee.name='Date'][arguments.length=0]",
    message: 'Use the Clock of shared/src/runtime.',
  },
  {
    selector: 'CallExpression[callee.name=/^(setTimeout|setInterval)$/]',
    message: 'Use the Clock of shared/src/runtime.',
  },
  {
    selector: "MemberExpression[object.name='Math'][property.name='random']",
    message: 'Use the Random of shared/src/runtime.',
  },
  { selector: "CallExpression[callee.name='randomUUID']", message: 'Use shared/src/runtime/random.ts.' },
];
const ENV = [
  {
    selector: "MemberExpression[object.name='process'][property.name='env']",
    message: 'Only config.ts files read the environment.',
  },
];

export default tseslint.config(
  { ignores: ['**/dist/**', '**/node_modules/**', 'proto/gen/**', '.lab/**', '**/*.d.ts'] },
  ...tseslint.configs.recommended,
  {
    files: ['**/*.ts'],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: false }],
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'none' },
      ],
      '@typescript-eslint/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
      '@typescript-eslint/no-explicit-any': 'error',
      'no-console': 'off',
      complexity: ['error', 16],
      'max-params': ['warn', 4],
      'no-restricted-exports': [
        'error',
        {
          restrictDefaultExports: {
            direct: true,
            named: true,
            defaultFrom: true,
            namedFrom: true,
            namespaceFrom: true,
          },
        },
      ],
    },
  },
  {
    files: ['shared/src/**/*.ts', 'agent/src/**/*.ts', 'controller/**/*.ts'],
    ignores: ['**/*.test.ts', 'shared/src/runtime/**'],
    rules: {
      ...restricted(...TIME, ...ENV, ...ZOD),
      'no-restricted-imports': [
        'error',
        {
          paths: [
            { name: 'node:child_process', message: 'Processes start in agent/src/drivers/linux/exec.ts.' },
            { name: 'execa', message: 'Processes start in agent/src/drivers/linux/exec.ts.' },
          ],
        },
      ],
      'max-lines': ['error', { max: 500, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 80, skipBlankLines: true, skipComments: true, IIFEs: true }],
    },
  },
  { files: ['**/config.ts'], rules: restricted(...TIME, ...ZOD) },
  {
    files: ['agent/src/drivers/linux/exec.ts', 'agent/src/drivers/linux/exec/**'],
    rules: { 'no-restricted-imports': 'off' },
  },
  {
    files: ['controller/cli/core/programs.ts'],
    rules: { 'no-restricted-imports': 'off' },
  },
  { files: ['**/*.config.ts'], rules: { 'no-restricted-exports': 'off' } },
  { files: ['**/*.test.ts', 'test/**/*.ts'], rules: { 'max-lines-per-function': 'off', complexity: 'off' } },
);
