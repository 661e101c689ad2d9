"""tools/misc/print_config.py."""

from mmengine.config import Config


def test_prints_and_saves_the_merged_config(run_here, micro_project, tmp_path):
    options = ['--cfg-options', 'train_dataloader.batch_size=5', '--save-path', tmp_path / 'merged.py']
    printed = run_here('misc/print_config.py', micro_project.config, *options)
    saved = Config.fromfile(tmp_path / 'merged.py')
    assert saved.train_dataloader.batch_size == 5
    assert saved.default_scope == 'wsol_mm'  # inherited
    assert printed.strip() == saved.pretty_text.strip()
