"""``with_torch.py TESTS SITE_PACKAGES``: the tests in an environment with torch; prints how many ended how, as JSON.

What the environment lacks (pytest, and what Scenelake needs) is taken from the second folder, after its own packages.
"""

import json
import site
import sys
from collections import Counter


class Outcomes:
    """A pytest plugin that counts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            self.counts[report.outcome] += 1


if __name__ == "__main__":
    tests, site_packages = sys.argv[1:]
    site.addsitedir(site_packages)
    import pytest

    outcomes = Outcomes()
    pytest.main(["-q", "-p", "no:cacheprovider", tests], plugins=[outcomes])
    sys.stdout.write(json.dumps(outcomes.counts) + "\n")
