"""Every documented command that can run without a network, an accelerator or real data is run."""

import re

from tests.documented_commands import COMMANDS, OTHERS, PLACEHOLDERS, tool_call
from tests.documented_runs import Workplace

import pytest

#: Commands that are not run here, by how they start or what they contain, and why.
NOT_RUN = {
    '--device cuda': 'there may be no accelerator',
    'tools/analysis_tools/check_parity.py': 'tests/test_parity checks the same cases',
    's3://bucket/photos': 'needs a network; test_sources.py reads memory://',
    "'shards/photos-{000000..000127}.tar'": 'needs many files; test_sources.py reads tar files',
    'tools/review.py': 'serves until it is stopped; test_web runs it',
    'tools/serve.py': 'serves until it is stopped; test_web runs it',
    'benchmarks.serving': 'takes half a minute; test_serving_load.py, marked slow, runs it',
    'benchmarks.refinement': 'needs the checkpoint of a run; its own test runs it on less',
    'benchmarks.evaluator': 'takes a minute; its own test runs it on less',
    'tools/sweep.py': 'trains in processes of its own; test_sweep.py runs it',
    'work_dirs/sweep/*': 'is what the former makes; test_compare_runs.py reads such folders',
    'tools/label_folder.py': 'downloads a network; test_folder_labelling.py runs it on a file',
    'benchmarks.box_confidence': 'takes minutes; its own test runs the rule on less',
    'reliability.png': 'needs the boxes of a run; test_eval_predictions.py runs it',
    'train_dataloader.dataset.box_source=../../work_dirs/boxes_train.json': 'is what a step before makes',
    'train.txt': 'is a list to be written; test_sources.py reads such lists',
    'configs/found/found_vit-t_cub40_second.py': 'needs the maps that the step before makes',
    'configs/psol/psol_vit-t_cub40.py': 'needs the boxes that the step before makes',
    'tools/analysis_tools/map_agreement.py': 'needs maps of two models; its own test makes them',
    'demo/train_detector.py': 'trains for minutes; test_train_detector.py runs it on less',
    'demo/labelling_day.py': 'takes many minutes; test_labelling_day.py, marked slow, runs it on less',
    'work_dirs/detected_val.json': 'is what the former makes',
    '--refine': 'takes minutes; test_train_and_test.py runs it on less',
    '--boxes many': 'needs an output of its own; test_output.py runs it',
    'labelled/config.py': 'is what the former makes',
    'bash tools/quickstart.sh': 'takes minutes; test_quickstart_run.py, marked slow, runs it',
    'bash tools/slurm_predict.sh': 'submits jobs; test_launch_scripts.py runs it with a stand-in for Slurm',
    'bash tools/run_tests.sh': 'runs these tests',
    'python docs/generate_tables.py': 'writes into the repository; test_generated_tables.py runs it',
    **dict.fromkeys(OTHERS, 'installs, builds or opens something outside of this repository'),
}
READER = {**PLACEHOLDERS, 'FOLDER': 'photos', 'DATA': 'data/CUB_200_2011_40'}
#: Of minutes; and most READMEs of configs: the same tools, with models that tests/test_configs runs.
SLOW = ('docs/benchmarks.md', 'docs/reproducing.md', 'docs/results.md')
SHORT = ('configs/sat/README.md', 'configs/trilite/README.md')


def documented_runs() -> dict[str, list[str]]:
    """Return the commands to run of every document, in order."""
    runs: dict[str, list[str]] = {}
    for command, document in COMMANDS.items():
        if not any(f' {part} ' in f' {command} ' or command.startswith(part) for part in NOT_RUN):
            runs.setdefault(document, []).append(command)
    return runs


RUNS = documented_runs()


@pytest.fixture(scope='module')
def workplace(tmp_path_factory):
    return Workplace(tmp_path_factory.mktemp('workplace'))


def marks(document):
    is_slow = document in SLOW or (document.startswith('configs/') and document not in SHORT)
    return pytest.mark.slow if is_slow else ()


@pytest.mark.parametrize('document', [pytest.param(name, marks=marks(name)) for name in RUNS])
def test_commands_run(workplace, document):
    folder = workplace.folder(document)
    for command in RUNS[document]:
        tool, arguments = tool_call(re.sub(r'\b([A-Z]+)\b', lambda m: READER.get(m[1], m[1]), command))
        workplace.run(folder, tool, [word for word in arguments if word != '...'])
