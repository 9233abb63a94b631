"""The page in a real browser, without a network: it opens, says the verdict, and fits a telephone."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from understudy.report import Report, write_report

BROWSER = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: the page was not opened")


@pytest.fixture(scope="module")
def page(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(report, tmp_path_factory.mktemp("report"))


def browse(url: str, profile: Path, *flags: str) -> str:
    """Open a page headless, with every host name unresolvable; what the browser printed."""
    assert BROWSER is not None
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
             "--disable-component-update", "--disable-sync", "--hide-scrollbars", f"--user-data-dir={profile}",
             "--host-resolver-rules=MAP * ~NOTFOUND", "--disable-dev-shm-usage")  # fmt: skip
    done = subprocess.run([BROWSER, *quiet, *flags, url], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_paints_offline(page: Path, tmp_path: Path, scheme: str) -> None:
    """A screenshot shows ink on the ground of its theme: dark on light, light on dark."""
    from matplotlib.image import imread

    shot = tmp_path / "shot.png"
    theme = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    browse(page.as_uri(), tmp_path / "profile", f"--screenshot={shot}", "--window-size=1200,2400", theme)
    gray = imread(shot)[..., :3].mean(-1)  # [h, w]
    ground = gray[5, 5]
    assert (ground > 0.9) == (scheme == "light")
    assert 0.01 < (abs(gray - ground) > 0.3).mean() < 0.3


def test_the_verdict_is_in_the_document(page: Path, tmp_path: Path) -> None:
    """What the browser made of the page holds the decision and all pictures, and no script."""
    document = browse(page.as_uri(), tmp_path / "profile", "--dump-dom")
    assert "<h1>Ship trees.</h1>" in document
    assert document.count('<svg class="picture"') == 14
    assert "<script" not in document.lower()


def test_the_page_fits_a_telephone(page: Path, tmp_path: Path) -> None:
    """At 400 pixels nothing sticks out sideways (measured by a script in a copy whose content policy is removed)."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    probe = "<script>document.title = 'wide ' + document.documentElement.scrollWidth + ' of ' + innerWidth</script>"
    copy = tmp_path / "copy.html"
    copy.write_text(text.replace("</body>", f"{probe}</body>"))
    document = browse(copy.as_uri(), tmp_path / "profile", "--dump-dom", "--window-size=400,900")
    found = re.search(r"<title>wide (\d+) of (\d+)</title>", document)
    assert found is not None
    assert int(found[1]) <= int(found[2]) <= 500
