"""Mean and deviation over seeds, and the tables of them."""

import csv
import io
import math

from wsol_mm.utils.run_comparison import csv_table, latex_table, markdown_table, method_name, summarize

import pytest

RUNS = {
    'a_b & c|d': [{'x/GT-known_Loc': 1.0, '100%': 5.0}, {'x/GT-known_Loc': 3.0, '100%': 6.0}],
    'e': [{'x/GT-known_Loc': 7.125, '100%': math.nan, 'more': 1.0}],
}
KEYS = ['x/GT-known_Loc', '100%']


@pytest.fixture
def summaries():
    return summarize(RUNS, KEYS)


def test_mean_and_deviation_of_a_sample(summaries):
    first, second = summaries
    assert (first.name, first.runs) == ('a_b & c|d', 2)
    assert first.mean == {'x/GT-known_Loc': 2.0, '100%': 5.5}
    assert first.std == {'x/GT-known_Loc': math.sqrt(2), '100%': math.sqrt(0.5)}
    assert second.runs == 1 and second.std == {'x/GT-known_Loc': None, '100%': None}
    assert math.isnan(second.mean['100%']) and list(second.mean) == KEYS


def test_one_run_without_a_number_spoils_the_mean_visibly():
    (summary,) = summarize({'a': [{'x': 1.0}, {'x': math.nan}]}, ['x'])
    assert math.isnan(summary.mean['x']) and summary.std['x'] is None


def test_markdown(summaries):
    assert markdown_table(summaries, 1).splitlines() == [
        '| method | runs | x/GT-known_Loc | 100% |',
        '| --- | --- | --- | --- |',
        r'| a_b & c\|d | 2 | 2.0 ± 1.4 | 5.5 ± 0.7 |',
        '| e | 1 | 7.1 | nan |',
    ]


def test_latex_is_escaped(summaries):
    lines = latex_table(summaries, 2).splitlines()
    assert lines[1:] == [
        r'\begin{tabular}{lrcc}',
        r'\toprule',
        r'Method & Runs & x/GT-known\_Loc & 100\% \\',
        r'\midrule',
        r'a\_b \& c|d & 2 & $2.00 \pm 1.41$ & $5.50 \pm 0.71$ \\',
        r'e & 1 & $7.12$ & $nan$ \\',
        r'\bottomrule',
        r'\end{tabular}',
    ]
    (odd,) = summarize({'a\\~^{#$}\nb': [{}]}, [])
    row = latex_table([odd], 2).splitlines()[5]
    assert row == r'a\textbackslash{}\textasciitilde{}\textasciicircum{}\{\#\$\} b & 1 \\'


def test_csv_keeps_all_digits(summaries):
    rows = list(csv.DictReader(io.StringIO(csv_table(summaries))))
    assert len(rows) == 4 and rows[0]['method'] == 'a_b & c|d' and rows[0]['metric'] == 'x/GT-known_Loc'
    assert float(rows[0]['std']) == math.sqrt(2) and rows[2]['std'] == '' and rows[2]['mean'] == '7.125'


@pytest.mark.parametrize(
    ('run', 'method'),
    [
        ('a_seed0', 'a'),
        ('a-seed12', 'a'),
        ('a_lr-1e-4_seed-3', 'a_lr-1e-4'),
        ('a', 'a'),
        ('seed3', 'seed3'),
        ('a_seed3_more', 'a_seed3_more'),
        ('linseed_x', 'linseed_x'),
    ],
)
def test_the_name_of_a_run_without_its_seed(run, method):
    assert method_name(run) == method
