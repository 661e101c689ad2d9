"""Export a trained model to ONNX: images in, class scores and localization maps out, batches of any size."""

from collections.abc import Sequence

from wsol_mm.cli.export_command import check_and_report, parse_export_arguments, prepare_export
from wsol_mm.cli.runner_options import one_line_errors

from numpy.typing import NDArray


@one_line_errors(ImportError)
def main() -> None:
    """Export, and check where asked to."""
    args = parse_export_arguments(__doc__, '.onnx')
    from wsol_mm.deployment.export import export_program, require_packages, write_onnx

    require_packages('onnx', 'onnxscript', *(['onnxruntime'] if args.verify else []))
    job = prepare_export(args)
    write_onnx(export_program(job.model, job.shape), job.model, args.out, job.facts)
    size = args.out.stat().st_size / 1e6
    inputs, outputs = ', '.join(job.model.input_names), ', '.join(job.model.output_names)
    print(f'{args.out}: {size:.1f} MB, {inputs} -> {outputs}')
    if args.verify:
        import onnxruntime

        session = onnxruntime.InferenceSession(args.out, providers=['CPUExecutionProvider'])
        names = [value.name for value in session.get_inputs()]

        def run(arrays: Sequence[NDArray]) -> list[NDArray]:
            return session.run(None, dict(zip(names, arrays, strict=True)))

        if not check_and_report(job, run):
            raise SystemExit(1)


if __name__ == '__main__':
    main()
