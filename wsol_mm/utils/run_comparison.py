"""Tables of metrics over seeds: mean and standard deviation for each method."""

import csv
import io
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_SEED = re.compile(r'[_-]?seed[_-]?\d+$')
_LATEX = {
    '\\': r'\textbackslash{}',
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
    **{character: f'\\{character}' for character in '&%$#_{}'},
}


class MethodSummary(NamedTuple):
    """A method over its runs.

    Attributes:
        name: Of the method.
        runs: How many there are.
        mean: Mean of each metric that its runs have.
        std: Standard deviation of each metric with n - 1 in the denominator; None for a single run.
    """

    name: str
    runs: int
    mean: dict[str, float]
    std: dict[str, float | None]


def method_name(run: str) -> str:
    """Return the name of a run without its seed: ``a`` of ``a_seed3``."""
    return _SEED.sub('', run) or run


def summarize(
    methods: Mapping[str, Sequence[Mapping[str, float]]], keys: Sequence[str]
) -> list[MethodSummary]:
    """Take mean and standard deviation over the runs of each method.

    Args:
        methods: The metrics of every run of each method.
        keys: The metrics; each is one of all runs of a method, or of none.

    Returns:
        The methods, in their order.
    """
    summaries = []
    for name, runs in methods.items():
        columns = {key: [float(run[key]) for run in runs] for key in keys if key in runs[0]}
        mean = {key: math.fsum(values) / len(values) for key, values in columns.items()}
        std = {
            key: statistics.stdev(values) if len(values) > 1 and math.isfinite(mean[key]) else None
            for key, values in columns.items()
        }
        summaries.append(MethodSummary(name, len(runs), mean, std))
    return summaries


def markdown_table(summaries: Sequence[MethodSummary], digits: int) -> str:
    """Write a table in Markdown; cells are ``mean ± deviation``, or ``-`` of a metric that there is not.

    Args:
        summaries: At least one method.
        digits: Decimal places.

    Returns:
        Lines of text.
    """
    keys = _keys(summaries)
    rows = [['method', 'runs', *keys], ['---'] * (len(keys) + 2)]
    for summary in summaries:
        cells = [' ± '.join(_numbers(summary, key, digits)) for key in keys]
        rows.append([summary.name, str(summary.runs), *cells])
    return ''.join(f'| {" | ".join(map(_markdown_text, row))} |\n' for row in rows)


def latex_table(summaries: Sequence[MethodSummary], digits: int) -> str:
    """Write a table in LaTeX with the rules of the package booktabs; see :func:`markdown_table`."""
    keys = _keys(summaries)
    rows, plus_minus = [], ' \\pm '
    for summary in summaries:
        cells = [f'${plus_minus.join(_numbers(summary, key, digits))}$' for key in keys]
        rows.append([_latex_text(summary.name), str(summary.runs), *cells])
    header = ['Method', 'Runs', *map(_latex_text, keys)]
    lines = [
        '% needs \\usepackage{booktabs}',
        f'\\begin{{tabular}}{{lr{"c" * len(keys)}}}',
        '\\toprule',
        f'{" & ".join(header)} \\\\',
        '\\midrule',
        *(f'{" & ".join(row)} \\\\' for row in rows),
        '\\bottomrule',
        '\\end{tabular}',
    ]
    return '\n'.join(lines) + '\n'


def csv_table(summaries: Sequence[MethodSummary]) -> str:
    """Write a line for each method and metric, all digits of the numbers; the deviation of one run is empty.

    Args:
        summaries: The methods.

    Returns:
        Lines of text, with the header ``method,runs,metric,mean,std``.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['method', 'runs', 'metric', 'mean', 'std'])
    for summary in summaries:
        for key, mean in summary.mean.items():
            writer.writerow([summary.name, summary.runs, key, mean, summary.std[key]])
    return text.getvalue()


def _keys(summaries: Sequence[MethodSummary]) -> list[str]:
    return list(dict.fromkeys(key for summary in summaries for key in summary.mean))


def _numbers(summary: MethodSummary, key: str, digits: int) -> list[str]:
    """Return the mean, and the deviation if there is one."""
    if key not in summary.mean:
        return ['-']
    values = [summary.mean[key], summary.std[key]]
    return [f'{value:.{digits}f}' for value in values if value is not None]


def _markdown_text(text: str) -> str:
    return ' '.join(text.split()).replace('|', '\\|')


def _latex_text(text: str) -> str:
    return ''.join(_LATEX.get(character, character) for character in ' '.join(text.split()))
