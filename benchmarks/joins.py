"""20,000 streams of late, repeated, orphaned and contradicting events, cut anywhere: is the join always the same?

The examples are drawn by Hypothesis and judged as tests/property/test_property_segments.py judges its 300: segments
exported as the events arrived against all of them ingested in one piece, to the byte, and every event with one fate.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from tests.property.test_property_segments import arrivals, check, collected  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="400 examples, nothing written")
    parser.add_argument("--examples", type=int, default=20_000)
    options = parser.parse_args()
    total = 400 if options.quick else options.examples
    size, examples, events = min(total, 2_000), 0, 0
    start = time.process_time()
    while examples < total:
        streams = collected(min(size, total - examples), seed=1_000 + examples)
        check(streams)
        examples += len(streams)
        events += sum(len(arrivals(number, stream)) for number, stream in enumerate(streams))
        print(f"{examples:,} examples, {events:,} events: all alike", flush=True)
    result = {"examples": examples, "events": events, "different": 0, "cpu_s": round(time.process_time() - start, 1)}
    if not options.quick:
        (HERE / "results" / "joins.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
