"""Finding a model: folders, caches first, and each way in which a hub can say no."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from huohou.errors import UserError
from huohou.model import ModelConfig, build, model_folder, write_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "ms"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "")


def write(folder: Path) -> Path:
    write_model(build(ModelConfig(31, 16, 24, 1, 4, 2), seed=1), folder, shard_bytes=4000)
    return folder


def in_hf_cache(root: Path, owner: str, name: str) -> Path:
    repository = root / f"models--{owner}--{name}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    return write(repository / "snapshots" / COMMIT)


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert model_folder(write(tmp_path / "a b 模型")) == tmp_path / "a b 模型"


@pytest.mark.parametrize("path", ["./none", "/no/such/folder", "gpt2", "a/b/c", "..\\x"])
def test_what_is_neither_folder_nor_id(path: str) -> None:
    with pytest.raises(UserError, match="is no folder, and no id of a hub either"):
        model_folder(path)


def test_a_cached_model_needs_no_network(tmp_path: Path) -> None:
    folder = in_hf_cache(tmp_path / "hf", "owner", "name")
    assert model_folder("owner/name") == folder
    assert model_folder("owner/name", revision=COMMIT) == folder


def test_half_a_download_is_not_taken(tmp_path: Path) -> None:
    folder = in_hf_cache(tmp_path / "hf", "owner", "name")
    next(folder.glob("*-of-*.safetensors")).unlink()
    with pytest.raises(UserError, match="owner/name is not on this machine"):
        model_folder("owner/name")


def test_modelscopes_cache_is_looked_into(tmp_path: Path) -> None:
    folder = write(tmp_path / "ms" / "models" / "Qwen" / "Qwen2___5-0___5B")
    assert model_folder("Qwen/Qwen2.5-0.5B") == folder
    assert model_folder("Qwen/Qwen2.5-0.5B", hub="modelscope") == folder
    with pytest.raises(UserError, match="not on this machine"):
        model_folder("Qwen/Qwen2.5-0.5B", hub="huggingface")


def test_without_a_network_one_sentence_says_so() -> None:
    with pytest.raises(UserError) as caught:
        model_folder("owner/name")
    text = caught.value.text.en
    assert "owner/name is not on this machine and could not be had from http://127.0.0.1:9" in text
    assert "HF_ENDPOINT" in text and "hub: modelscope" in text and "\n" not in text


def test_modelscope_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "modelscope", None)
    with pytest.raises(UserError, match=r"huohou\[modelscope\]"):
        model_folder("owner/name", hub="modelscope")


def test_another_hub_is_refused() -> None:
    with pytest.raises(UserError, match="model.hub is 'huggingfase'"):
        model_folder("owner/name", hub="huggingfase")


class Answers(http.server.BaseHTTPRequestHandler):
    """A hub that knows one gated model and one that has no weights."""

    def do_GET(self) -> None:
        body: object = {"error": "Repository not found"}
        status, code = 401, "RepoNotFound"
        if "/gated/" in self.path:
            status, code, body = 403, "GatedRepo", {"error": "Access to model gated/model is restricted"}
        elif "/models/owner/plain/revision/gone" in self.path:
            status, code, body = 404, "RevisionNotFound", {"error": "Invalid rev id"}
        elif "/models/owner/plain" in self.path:
            body = {"id": "owner/plain", "sha": COMMIT, "siblings": [{"rfilename": "README.md"}]}
            status, code = 200, ""
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if code:
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", "refused")
        self.end_headers()
        self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(handler: type[Answers]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serving(Answers) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield url


class Mirror(Answers):
    """A mirror that has one whole model, and counts what is asked of it."""

    folder = Path()
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        files = sorted(path.name for path in self.folder.iterdir())
        name = self.path.split("?")[0].rsplit("/", 1)[-1]
        if "/resolve/" in self.path and name in files:
            content = (self.folder / name).read_bytes()
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
        elif "/tree/" in self.path:
            content = json.dumps(
                [
                    {"type": "file", "path": file, "oid": COMMIT, "size": (self.folder / file).stat().st_size}
                    for file in files
                ]
            ).encode()
            self.send_response(200)
        else:
            about = {"id": "owner/whole", "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]}
            content = json.dumps(about).encode()
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET


def test_a_mirror_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Mirror.folder = write(tmp_path / "served")
    (Mirror.folder / "evil.py").write_text("", encoding="utf-8")
    (Mirror.folder / "picture.png").write_bytes(b"")
    Mirror.asked.clear()
    with serving(Mirror) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        folder = model_folder("owner/whole")
        assert Mirror.asked
        Mirror.asked.clear()
        assert model_folder("owner/whole") == folder
        assert not Mirror.asked
    kept = {path.name for path in Mirror.folder.iterdir()} - {"evil.py", "picture.png"}
    assert {path.name for path in folder.iterdir()} == kept
    assert all((folder / name).read_bytes() == (Mirror.folder / name).read_bytes() for name in kept)


@pytest.mark.parametrize(
    ("name", "revision", "sentence"),
    [
        ("owner/unknown", None, "{url} has no model owner/unknown, or keeps it private"),
        ("owner/plain", "gone", "{url} has no model owner/plain@gone"),
        (
            "gated/model",
            None,
            "gated/model is only given to those who accepted its terms: do that at {url}/gated/model",
        ),
        ("owner/plain", None, "owner/plain holds no safetensors and no .bin files"),
    ],
)
def test_what_a_hub_says(endpoint: str, name: str, revision: str | None, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        model_folder(name, revision=revision)
    assert sentence.format(url=endpoint) in caught.value.text.en
