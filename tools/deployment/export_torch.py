"""Export a trained model with torch.export: a .pt2 file that PyTorch runs without this library."""

from collections.abc import Sequence

from wsol_mm.cli.export_command import check_and_report, parse_export_arguments, prepare_export
from wsol_mm.cli.runner_options import one_line_errors

from numpy.typing import NDArray


@one_line_errors()
def main() -> None:
    """Export, and check where asked to."""
    args = parse_export_arguments(__doc__, '.pt2')
    from wsol_mm.deployment.export import export_program, write_program

    import torch

    job = prepare_export(args)
    write_program(export_program(job.model, job.shape), args.out, job.facts)
    size = args.out.stat().st_size / 1e6
    inputs, outputs = ', '.join(job.model.input_names), ', '.join(job.model.output_names)
    print(f'{args.out}: {size:.1f} MB, {inputs} -> {outputs}')
    if args.verify:
        program = torch.export.load(args.out).module()

        def run(arrays: Sequence[NDArray]) -> list[NDArray]:
            return [output.detach().numpy() for output in program(*map(torch.from_numpy, arrays))]

        if not check_and_report(job, run):
            raise SystemExit(1)


if __name__ == '__main__':
    main()
