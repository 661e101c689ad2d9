from wsol_mm.datasets import DatasetProblems
from wsol_mm.datasets.checks.entries import draw_shots


def test_shots_are_nested_and_the_same_everywhere():
    """The draw is fixed by a hash: this list holds for every platform and version."""
    entries = [{'img_id': f'c/{number}.jpg', 'gt_label': 0} for number in range(6)]
    problems = DatasetProblems('x')
    drawn = [
        [entry['img_id'][2] for entry in draw_shots(entries, ['c'], shots, 0, problems)]
        for shots in range(1, 7)
    ]
    assert all(set(fewer) < set(more) for fewer, more in zip(drawn, drawn[1:], strict=False))
    assert drawn[2] == ['1', '3', '5']
