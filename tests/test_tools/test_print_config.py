"""tools/misc/print_config.py."""

from mmengine.config import Config


def test_prints_and_saves_the_merged_config(micro_project):
    options = ['--cfg-options', 'train_dataloader.batch_size=5', '--save-path', 'merged.py']
    result = micro_project.run('misc/print_config.py', micro_project.config, *options)
    assert result.returncode == 0, result.stderr
    saved = Config.fromfile(micro_project.folder / 'merged.py')
    assert saved.train_dataloader.batch_size == 5
    assert saved.default_scope == 'wsol_mm'  # inherited
    assert result.stdout.strip() == saved.pretty_text.strip()
