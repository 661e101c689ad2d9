default_scope = 'wsol_mm'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # A method adds save_best=<its localization metric>.
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2, save_last=True),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # Batch statistics are averaged over the processes after every epoch: what validates is what is saved.
    sync_buffers=dict(type='SyncBuffersHook'),
    # Stops where the loss is NaN or infinite.
    finite_loss=dict(type='FiniteLossHook'),
    # Stops where data set and head have different numbers of classes.
    class_count=dict(type='ClassCountHook'),
    # Draws maps and boxes during validation and test; tools/test.py --show-dir switches it on.
    visualization=dict(type='LocalizationVisualizationHook', enable=False),
)

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # Without a GPU the runners in tools/ use gloo.
    dist_cfg=dict(backend='nccl'),
)

# For TensorBoard as well, a config that inherits this one says
# visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='LocalizationVisualizer', vis_backends=vis_backends)

log_level = 'INFO'
load_from = None
resume = False
# The same numbers for the same seed on the same machine, on a GPU only with deterministic=True (slower):
# MMEngine then takes cuDNN's deterministic algorithms and calls torch.use_deterministic_algorithms(True), so
# that an operation without deterministic form raises an error.
randomness = dict(seed=0, deterministic=False)
