"""A training that logs to MLflow, into a database on this machine."""

from tests.test_tools.conftest import MICRO_CONFIG, write_micro_cub
from wsol_mm.engine.runner import LocalizationRunner

import pytest
from mmengine.config import Config

CONFIG = """
train_dataloader['dataset']['indices'] = 4
test_dataloader['dataset']['indices'] = val_dataloader['dataset']['indices'] = 2
val_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc_v2'])
visualizer = dict(
    vis_backends=[
        dict(type='LocalVisBackend'),
        dict(
            type='MLflowVisBackend',
            exp_name='wsol',
            tracking_uri='sqlite:///{folder}/mlflow.db',
            artifact_location='{folder}/artifacts',
        ),
    ]
)
"""


@pytest.mark.slow
def test_metrics_and_settings_of_a_training(tmp_path, repo_dir, capsys):
    mlflow = pytest.importorskip('mlflow')
    pytest.importorskip('sqlalchemy')
    pytest.importorskip('alembic')
    write_micro_cub(tmp_path / 'cub')
    path = tmp_path / 'config.py'
    text = MICRO_CONFIG.format(repo=repo_dir.as_posix(), data_root=(tmp_path / 'cub').as_posix())
    path.write_text(text + CONFIG.format(folder=tmp_path.as_posix()))
    cfg = Config.fromfile(path)
    cfg.work_dir = str(tmp_path / 'run')
    former = mlflow.get_tracking_uri()
    try:
        runner = LocalizationRunner.from_cfg(cfg)
        runner.train()
        (run,) = mlflow.search_runs(experiment_names=['wsol'], output_format='list')
    finally:
        mlflow.set_tracking_uri(former)
    metrics = run.data.metrics
    assert {'loss', 'maxboxacc_v2/MaxBoxAccV2', 'maxboxacc_v2/BoxAcc_0.5'} <= metrics.keys()
    levels = [metrics[f'maxboxacc_v2/BoxAcc_{level}'] for level in (0.3, 0.5, 0.7)]
    assert metrics['maxboxacc_v2/MaxBoxAccV2'] == pytest.approx(sum(levels) / 3)
    assert run.data.params['model.head.type'] == 'TSCAMHead'
    assert 'Could not log' not in capsys.readouterr().out
