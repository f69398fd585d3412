"""Kill and disturb a real group on the paper exchange, then compare its books with the exchange's ledger.

    scripts/chaos --kills 30 --seed 7

Exit code: 0 nothing lost and nothing doubled, 1 it could not be run, 7 something differs, or the campaign proves less
than it should: fewer kills than asked, fewer than a fifth of them in mid-request, no fault that took effect; and of 100
kills or more a p99 of recovery above 5 s, or a process that was never killed. Of fewer kills these two are warnings.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from common.errors import ExitCode
from tests.chaos.campaign import Campaign, say
from tests.chaos.report import FINDINGS_SHOWN


def main() -> int:
    """Run one campaign and print its report; return the exit code."""
    arguments = _arguments()
    run_dir = Path(tempfile.mkdtemp(prefix="chaos-"))
    say(f"chaos: {arguments.kills} kills from seed {arguments.seed} in {run_dir}")
    began_s = time.monotonic()
    campaign = Campaign(run_dir, arguments.seed, arguments.kills, say)
    try:
        report = campaign.run(arguments.minutes)
    finally:
        campaign.stop()
    print(report.table())
    print(f"took {(time.monotonic() - began_s) / 60:.1f} minutes")
    shortfalls = report.shortfalls()
    for line in [*report.findings[:FINDINGS_SHOWN], *shortfalls]:
        print(line)
    for line in report.warnings():
        print(f"warning: {line}")
    is_wrong = bool(report.findings or shortfalls)
    if is_wrong or arguments.keep:
        print(f"the run directory is kept: {run_dir}")
    else:
        shutil.rmtree(run_dir)
    print(report.last_line(), flush=True)
    return ExitCode.DIFFERS if is_wrong else ExitCode.OK


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=300, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which strikes (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=120.0, help="then no further strike (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep the run directory")
    arguments = parser.parse_args()
    if arguments.kills < 1:
        parser.error(f"--kills {arguments.kills}: at least 1")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
