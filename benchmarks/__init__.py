"""Speed and memory of Relight, beside the floor of the same run: `python -m benchmarks`. One module for each row."""
