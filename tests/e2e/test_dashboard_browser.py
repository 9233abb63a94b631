"""The dashboard in a real browser, before a real service: the page shows the very figures that the log holds."""

import http.client
import http.server
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import msgspec
import numpy as np
import pytest

from understudy.core.evidence import Lift, Verdict
from understudy.core.manifest import Manifest
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.service import DecideRequest, Logged, RewardRequest
from understudy.data.eventlog import open_event_log
from understudy.data.home import LOGGED, Home, now
from understudy.data.traffic import Direction, Traffic
from understudy.models.policies import Fixed, Mixture, Uniform
from understudy.models.policy_file import encode_policy
from understudy.ops.intervals import clopper_pearson
from understudy.serve.client import Client
from understudy.serve.keys import add_key

BROWSER = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: the dashboard was not opened")

PROBLEM = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("left", "right", "wait")))
HOSTILE = "<img src=x onerror=\"document.title='broken in'\">"
DECISIONS, REWARDED = 300, 280


def policy(home: Home, best: int) -> str:
    made = Manifest(kind="policy", problem_hash=PROBLEM.hash, counts={"decisions": 500 + best},
                    config={"learner": "direct", "settings": {"best": best}})  # fmt: skip
    acts = Mixture((Fixed(3, best), Uniform(3)), (0.7, 0.3))
    id = home.put(made, encode_policy(acts, problem=PROBLEM)).id
    home.record(home.kept(id))
    return id


def look(home: Home, candidate: str, outcome: str, mean: float, low: float) -> None:
    incumbent = home.ledger.current("production")
    assert incumbent is not None
    made = home.ledger.record_look(time=now(), problem_hash=PROBLEM.hash, alias="production", candidate=candidate,
                                   incumbent=incumbent.policy, dataset=f"{outcome}/all", alpha=0.05)  # fmt: skip
    verdict = Verdict(outcome=outcome, candidate=candidate, incumbent=incumbent.policy, checks=(),
                      reason=f"{HOSTILE} says {outcome}")  # fmt: skip
    home.ledger.record_verdict(made, verdict, time=now())
    folder = Path(home.folder) / "verdicts" / str(made.id)
    folder.mkdir(parents=True)
    lift = Lift(candidate=candidate, incumbent=incumbent.policy, n=400, margin=0.0, log_e=4.0, peak_log_e=4.0,
                mean=mean, low=low, high=mean + 0.1, second_moment=0.2)  # fmt: skip
    (folder / "lift.json").write_bytes(msgspec.json.encode(lift))


class Stage:
    """A served home: whom the ledger names, what the log holds, where the service answers."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.live, self.trial = policy(self.home, 0), policy(self.home, 1)
        self.home.ledger.install("production", LOGGED, time=now(), reason="nobody was live")
        look(self.home, self.live, "ship", 0.1234, 0.0567)
        self.home.ledger.promote("production", self.live, time=now())
        look(self.home, self.trial, "not_enough_evidence", 0.01, -0.05)
        Traffic(self.home.ledger).direct(Direction(alias="production", mode="canary", candidate=self.trial, share=0.25,
                                                   time=now(), reason="on trial"))  # fmt: skip
        command = [sys.executable, "-c", "from understudy.cli import run; run()", "serve", "production", "--home",
                   str(folder), "--port", "0"]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().removeprefix("ready: ").strip()

    def act(self) -> None:
        """A few hundred decisions; rewards for most of them."""
        rng = np.random.default_rng(0)
        with Client(self.url) as client:
            for i in range(DECISIONS):
                client.decide(DecideRequest(context={"x": float(i)}, decision_id=f"d{i}"))
            for i in range(REWARDED):
                client.reward(RewardRequest(decision_id=f"d{i}", value=float(rng.random() < 0.8)))

    def logged(self) -> tuple[list[Logged], dict[str, float]]:
        """What the log holds: decisions, and the reward of each that has one."""
        log = open_event_log(self.home.log("production"), None)
        entries, _ = log.read({})
        log.close()
        outcomes = [json.loads(e.body) for e in entries if e.kind == "outcome"]
        decisions = [msgspec.json.decode(e.body, type=Logged) for e in entries if e.kind == "decision"]
        return decisions, {o["decision_id"]: o["value"] for o in outcomes}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("served") / "home")
    try:
        made.act()
        yield made
    finally:
        made.process.send_signal(signal.SIGTERM)
        made.process.wait(20)


def browse(url: str, profile: Path, *flags: str) -> str:
    """Open a page headless, with every host name but loopback unresolvable; the document it became."""
    assert BROWSER is not None
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
             "--disable-component-update", "--disable-sync", "--hide-scrollbars", f"--user-data-dir={profile}",
             "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-dev-shm-usage",
             "--virtual-time-budget=5000")  # fmt: skip
    done = subprocess.run([BROWSER, *quiet, *(flags or ("--dump-dom",)), url], capture_output=True, text=True,
                          timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def document(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> str:
    return browse(f"{stage.url}/", tmp_path_factory.mktemp("profile"))


def part(document: str, id: str) -> str:
    """The text of an element, tags as spaces."""
    found = re.search(rf'<(\w+)[^>]* id="{id}"[^>]*>(.*?)</\1>', document, re.S)
    assert found is not None, f"the page has no {id}"
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", found[2])).split())


def test_the_page_shows_the_rewards_of_the_log(stage: Stage, document: str) -> None:
    """The rolling mean of the last hundred with the interval that it names, and how many have no reward yet."""
    decisions, rewards = stage.logged()
    values = [rewards[d.decision_id] for d in decisions if d.decision_id in rewards]
    assert len(values) == REWARDED
    low, high = clopper_pearson(int(sum(values[-100:])), 100, 0.95)
    mean = np.mean(values[-100:])
    assert part(document, "reward-now") == f"{mean:.3f} {low:.3f} to {high:.3f}, last 100 rewarded decisions"
    note = part(document, "reward-note")
    assert "exact binomial (Clopper–Pearson)" in note
    assert f"Over the 280 rewarded decisions kept here: {np.mean(values):.3f}" in note
    assert "20 decisions without a reward so far" in note


def test_the_page_shows_who_acts_and_why(stage: Stage, document: str) -> None:
    """The live policy with its verdict and bound, the candidate with its share, and who acted in the log."""
    decisions, _ = stage.logged()
    assert part(document, "headline") == f"direct {stage.live[:8]} is in service."
    service = part(document, "service")
    assert stage.live in service and "500 decisions" in service and "direct: best 0" in service
    assert "at least +0.0567 (95 % bound), estimate +0.1234" in service
    traffic = part(document, "traffic")
    assert stage.trial in traffic and "25 % of decisions, by an exact mixture" in traffic
    assert {d.policy_id for d in decisions} == {f"{stage.live}+{stage.trial}@0.25"}
    assert f"{stage.live[:8]}, 25 % {stage.trial[:8]} 300 100 %" in part(document, "acted")


def test_the_page_shows_shares_and_propensities_of_the_log(stage: Stage, document: str) -> None:
    """Each action's share beside what the probabilities say, the smallest propensity, the mean weight."""
    decisions, _ = stage.logged()
    taken = Counter(d.action for d in decisions)
    expected = np.mean([d.propensities for d in decisions], axis=0)
    table = part(document, "actions")
    for a, name in enumerate(PROBLEM.actions.names):
        assert f"{name} {100 * taken[name] / DECISIONS:.1f} % {100 * expected[a]:.1f} %" in table
    health = part(document, "propensity")
    p = np.array([d.propensity for d in decisions], np.float64)
    assert f"Smallest {float(f'{p.min():.3g}')}" in health
    assert f"Mean weight {np.mean(1 / (3 * p)):.3f} , should be 1 ±" in health
    assert "Fallbacks none" in health


def test_the_page_shows_the_lag_and_the_history(document: str) -> None:
    """Events that no join has read; promotions and refusals with their reasons, which are text and nothing else."""
    assert "Written 580 events" in part(document, "lag")
    assert "Not exported 580 events: no join has read this log yet" in part(document, "lag")
    assert "Unrewarded 20 decisions" in part(document, "lag")
    history = part(document, "history")
    for said in ("Canary", "Not enough evidence", "Promoted", "Installed logged", "says not_enough_evidence"):
        assert said in history
    assert "<img" not in document, "a reason became an element"
    assert HOSTILE in unescape(document)
    assert "broken in" not in part(document, "application")


def test_every_picture_has_words_and_figures(document: str) -> None:
    """Pictures carry a sentence, the two big ones a table as well; the page keeps to one heading of each."""
    pictures = re.findall(r"<svg[^>]*>", document)
    assert len(pictures) == 6  # reward, estimates, three actions, propensities
    assert all('role="img"' in tag and re.search(r'aria-label="[^"]{10,}', tag) for tag in pictures)
    assert part(document, "estimates-table").count("direct") == 3  # two candidates, one of them hosted since
    assert len(re.findall("<h1", document)) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_paints_in_both_themes(stage: Stage, tmp_path: Path, scheme: str) -> None:
    """Ink on the ground of its theme: dark on light, light on dark."""
    from matplotlib.image import imread

    shot = tmp_path / "shot.png"
    theme = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    browse(f"{stage.url}/", tmp_path / "profile", f"--screenshot={shot}", "--window-size=1200,1600", theme)
    gray = imread(shot)[..., :3].mean(-1)  # [h, w]
    assert (gray[5, 5] > 0.9) == (scheme == "light")
    assert 0.01 < (abs(gray - gray[5, 5]) > 0.3).mean() < 0.3


class Front(http.server.BaseHTTPRequestHandler):
    """The page with a script of the test's in it, before the real service: what a test cannot type, it types."""

    url, script, frame = "", "", b""

    def do_GET(self) -> None:
        if self.path == "/frame":
            return self._say(200, "text/html", self.frame)
        client = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=20)
        key = self.headers.get("authorization")
        client.request("GET", self.path, headers={"authorization": key} if key else {})
        answer = client.getresponse()
        body, kind = answer.read(), answer.headers["content-type"]
        if self.path == "/":
            body = body.replace(b"</body>", f"<script>{self.script}</script></body>".encode())
        return self._say(answer.status, kind, body)

    def _say(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def front(stage: Stage) -> Iterator[type[Front]]:
    made = type("Front", (Front,), {"url": stage.url})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), made)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.address = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    yield made
    server.shutdown()


def test_the_page_fits_a_telephone(front: type[Front], tmp_path: Path) -> None:
    """At 400 pixels nothing sticks out sideways."""
    front.script = """setInterval(() => parent.document.title = innerWidth + ' holds ' +
                      document.documentElement.scrollWidth + ' ready ' + document.documentElement.dataset.ready, 300)"""
    front.frame = b'<!doctype html><title>-</title><iframe src="/" width="400" height="900"></iframe>'
    document = browse(f"{front.address}/frame", tmp_path / "profile")  # type: ignore[attr-defined]
    assert "<title>400 holds 400 ready yes</title>" in document


def test_with_keys_the_page_asks_for_one_and_keeps_it_to_itself(
    stage: Stage, front: type[Front], tmp_path: Path
) -> None:
    """Without a key, or with one that may not read: no figure. With one that may: all; and it is stored nowhere."""
    wrong, right = (add_key(stage.home.folder, [scope], now=now())[0] for scope in ("decide", "read"))
    with Client(stage.url, right) as client:
        assert client.status()["alias"] == "production"
    typed = """const typed = %r; if (typed) { document.getElementById('key').value = typed;
               document.getElementById('door').requestSubmit() }
               setInterval(() => document.title = JSON.stringify([localStorage.length, sessionStorage.length,
               document.cookie, document.getElementById('key').value, location.href]), 500)"""
    for key, told in (("", "a key is needed"), (wrong, "this key may not read"), (right, "live, every 2 seconds")):
        front.script = typed % key
        document = browse(f"{front.address}/", tmp_path / key[3:11])  # type: ignore[attr-defined]
        assert part(document, "pulse") == told
        assert part(document, "headline").endswith("is in service.") == (key == right)
        kept = json.loads(unescape(re.search(r"<title>(.*?)</title>", document)[1]))  # type: ignore[index]
        assert kept == [0, 0, "", "", f"{front.address}/"]  # type: ignore[attr-defined]
        assert not key or key not in document.replace(front.script, "")
