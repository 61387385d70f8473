# SPDX-License-Identifier: Apache-2.0
"""What is no experiment at all is said in one sentence."""

from pathlib import Path

import pytest

from chaosgpu.lint import Unreadable, parse, read


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", b"{", "line 1"),
        ("a.json", b'{"a": 1,}', "is not JSON"),
        ("a.yaml", b"a: [1\nb: 2\n", "is not YAML: line 2"),
        ("a.yaml", b"a: !!python/object:os.system x\n", "python/object"),
        ("a.yaml", b"a: \xff\n", "not UTF-8"),
        ("a.yaml", b"", "is empty"),
        ("a.yaml", b"- 1\n", "is not an experiment"),
        ("a.json", b"3", "is not an experiment"),
        ("a.txt", b"title: t\n", ".json, .yaml or .yml only"),
        ("a.yaml", b"a: &x [*x]\n", "contains itself"),
        ("a.yaml", b"? {a: 1}\n: 2\n", "unhashable"),
        ("a.json", b"[" * 100_000, "could not be parsed"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused_with_a_sentence(
    name: str, content: bytes, says: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(Unreadable) as refused:
        read(path)
    assert says in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="No such file"):
        read(tmp_path / "none.json")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d.json").mkdir()
    with pytest.raises(Unreadable, match="directory"):
        read(tmp_path / "d.json")


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as stream:
        stream.truncate(5 * 1024 * 1024)
    with pytest.raises(Unreadable, match="larger than"):
        read(path)


def test_aliases_that_multiply_are_refused_at_once() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(Unreadable, match="multiply"):
        parse("\n".join(lines))
