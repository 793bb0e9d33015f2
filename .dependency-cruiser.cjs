/** The direction of imports, as the design fixes it. */
const no = (name, from, to, comment) => ({ name, severity: 'error', comment, from, to });
/** Tests and what only tests use. */
const TESTS = '(\\.test\\.ts$|/testing(/|\\.ts$))';
const ours = '^(proto|shared|agent|controller|deploy|test)/';
module.exports = {
  forbidden: [
    no('no-cycles', {}, { circular: true }, 'A cycle means that two files are one.'),
    no('proto-stands-alone', { path: '^proto/' }, { path: '^(shared|agent|controller|deploy|test)/' }),
    no(
      'shared-knows-proto-only',
      { path: '^shared/' },
      { path: '^(agent|controller|deploy|test)/', pathNot: '^test/harness/' },
    ),
    no(
      'shared-model-is-pure',
      { path: '^shared/src/model/', pathNot: TESTS },
      // the schemas of hardware and definitions are model too: its types come from them
      { path: ours, pathNot: '^shared/src/(model|runtime)/|^shared/src/hardware/(schema|definition)\\.ts$' },
    ),
    no('agent-knows-no-controller', { path: '^agent/' }, { path: '^(controller|deploy)/' }),
    no('controller-knows-no-agent', { path: '^controller/' }, { path: '^(agent|deploy)/' }),
    no(
      'cli-is-a-client',
      { path: '^controller/cli/', pathNot: TESTS },
      { path: '^(controller/src|agent|deploy|test)/' },
    ),
    no(
      'scheduler-is-pure',
      { path: '^controller/src/scheduler/', pathNot: TESTS },
      { path: ours, pathNot: '^(controller/src/scheduler/|shared/src/model/|shared/src/units/)' },
    ),
    no(
      'nothing-imports-test',
      { path: '^(proto|shared|agent|controller|deploy)/', pathNot: TESTS },
      { path: '^test/' },
    ),
    no(
      'generated-types-stop-at-the-border',
      {
        path: '^(controller/src/(app|jobs|scheduler|state|reconcilers|trust)|agent/src/(drivers|domain|network|host|volume|peer)|shared/src/model)/',
        pathNot: TESTS,
      },
      { path: '^proto/gen/' },
    ),
    no(
      'only-config-files-and-mains-pick-drivers',
      {
        path: '^agent/src/',
        pathNot: '(^agent/src/drivers/|^agent/src/main\\.ts$|\\.test\\.ts$|/testing/)',
      },
      { path: '^agent/src/drivers/(linux|libvirt|sim)/' },
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(node_modules|dist)/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'default'],
      extensions: ['.ts', '.js'],
    },
  },
};
