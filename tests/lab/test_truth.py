# SPDX-License-Identifier: Apache-2.0
"""The probes and actions against a real Triton: what it shows, what only the canary sees, what undoes what."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from chaosgpu.errors import AnswerWrong, BadArgument, NoGuard, ReadingUnknown, Refused
from chaosgpu.lab.plan import LabPlan
from chaosgpu.lease.run import Run
from chaosgpu.triton import actions, api, probes
from chaosgpu.triton.golden import read_golden, write_golden
from chaosgpu.triton.tensors import Tensor
from lab.helpers import until


@pytest.fixture(autouse=True)
def lab_environment(fragile: LabPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSGPU_CANARY", fragile.exported["CHAOSGPU_CANARY"])


def test_a_healthy_server_is_live_ready_and_right(fragile: LabPlan) -> None:
    assert probes.server_is_live(fragile.url)
    assert probes.server_is_ready(fragile.url)
    assert probes.model_is_ready(fragile.url, "chat")
    assert probes.canary_is_right(fragile.url, "chat")
    assert 0 < probes.canary_latency_s(fragile.url, "chat") < 2


def test_a_hundred_canaries_under_traffic_give_no_false_alarm(fragile: LabPlan) -> None:
    found = [probes.canary(fragile.url, "chat", within_s=5) for _ in range(100)]
    assert [one["why"] for one in found if not one["right"]] == []
    assert {one["compared"] for one in found} == {16 * 32 + 16}


def test_background_traffic_is_answered_right(fragile: LabPlan) -> None:
    series = Path(fragile.directory) / "traffic.jsonl"
    begun = series.read_text().count("\n") + 1 if series.exists() else 0

    def last_three_are_right() -> bool:
        """Look at what was answered since this test began: others have broken this lab before it."""
        lines = series.read_text().splitlines()[begun:] if series.exists() else []
        last = [json.loads(line) for line in lines[:-1]][-3:]
        right = [second["ok"] > 0 and second["wrong"] + second["failed"] == 0 for second in last]
        return right == [True] * 3

    assert until(last_three_are_right, 20)


def test_a_known_answer_off_by_a_thousandth_is_noticed(fragile: LabPlan, tmp_path: Path) -> None:
    golden = read_golden(Path(fragile.exported["CHAOSGPU_CANARY"]), "chat")
    case = golden.cases[0]
    logits = case.outputs[0]
    moved = (float(logits.values[5]) + 1e-3, *logits.values[6:])
    changed = replace(case, outputs=(replace(logits, values=(*logits.values[:5], *moved)), *case.outputs[1:]))
    write_golden(replace(golden, cases=(changed,)), tmp_path / "moved.json")
    found = probes.canary(fragile.url, "chat", golden=str(tmp_path / "moved.json"))
    assert not found["right"]
    assert found["why"] == "output LOGITS differs in 1 of 512 values, by up to 0.001"


def test_other_weights_are_seen_by_the_canary_alone_and_a_plain_load_does_not_undo_them(
    fragile: LabPlan, guarded_run: Run
) -> None:
    patch = {"parameters": {"seed": {"string_value": "1"}}}
    overridden = actions.override_config(fragile.url, "chat", patch)
    try:
        assert overridden["changed"] == ["parameters.seed.string_value"]
        assert overridden["canary"]["right"] is False
        assert Path(overridden["saved"]).parent.parent == guarded_run.directory
        assert probes.server_is_ready(fragile.url)
        assert probes.model_is_ready(fragile.url, "chat")
        actions.load_model(fragile.url, "chat")
        assert not probes.canary_is_right(fragile.url, "chat")
        with pytest.raises(Refused, match="would do nothing"):
            actions.override_config(fragile.url, "chat", patch)
    finally:
        restored = actions.restore_config(fragile.url, "chat")
    assert restored["restored"] == ["parameters.seed.string_value"]
    assert restored["canary"]["right"] is True
    assert actions.restore_config(fragile.url, "chat")["restored"] == []


def test_an_action_without_a_guarded_run_is_refused(fragile: LabPlan) -> None:
    with pytest.raises(NoGuard):
        actions.unload_model(fragile.url, "chat")
    with pytest.raises(NoGuard):
        actions.override_config(fragile.url, "chat", {"parameters": {"seed": {"string_value": "1"}}})
    assert probes.model_is_ready(fragile.url, "chat")


def test_an_override_that_triton_refuses_changes_nothing(fragile: LabPlan, guarded_run: Run) -> None:
    assert guarded_run.id == "test-run"
    with pytest.raises(Refused, match="HTTP 400"):
        actions.override_config(fragile.url, "chat", {"backend": "no_such_backend"})
    assert probes.canary_is_right(fragile.url, "chat")


def test_an_unknown_model_is_said_in_a_sentence(fragile: LabPlan, guarded_run: Run) -> None:
    assert guarded_run.id == "test-run"
    for ask in (
        lambda: probes.model_is_ready(fragile.url, "chta"),
        lambda: probes.pending_count(fragile.url, "chta"),
        lambda: probes.progress(fragile.url, "chta"),
        lambda: probes.learn_canary(fragile.url, "chta", "x.json"),
        lambda: actions.load_model(fragile.url, "chta"),
        lambda: actions.unload_model(fragile.url, "chta"),
        lambda: actions.override_config(fragile.url, "chta", {"backend": "python"}),
    ):
        with pytest.raises(BadArgument, match="no model 'chta' in its repository"):
            ask()


def test_a_canary_of_an_unknown_model_raises_rather_than_deviates(fragile: LabPlan, tmp_path: Path) -> None:
    golden = read_golden(Path(fragile.exported["CHAOSGPU_CANARY"]), "chat")
    write_golden(replace(golden, model="chta"), tmp_path / "chta.json")
    with pytest.raises(BadArgument, match="no model 'chta'"):
        probes.canary_is_right(fragile.url, "chta", golden=str(tmp_path / "chta.json"))
    with pytest.raises(BadArgument, match="holds the known answer of model 'chta', not of 'chat'"):
        probes.canary_is_right(fragile.url, "chat", golden=str(tmp_path / "chta.json"))


def test_a_wrong_tensor_shape_is_answered_with_tritons_own_words(fragile: LabPlan) -> None:
    flat = Tensor("TOKENS", "INT32", (8,), tuple(range(8)))
    with pytest.raises(AnswerWrong, match="unexpected shape for input 'TOKENS'"):
        api.infer(fragile.url, "chat", (flat,), 5)
    beyond = Tensor("TOKENS", "INT32", (1, 2), (1, 256))
    with pytest.raises(AnswerWrong, match="tokens must be bytes, 0 to 255"):
        api.infer(fragile.url, "chat", (beyond,), 5)


def test_waiting_requests_of_a_model_that_is_not_loaded_are_unknown_and_not_zero(fragile: LabPlan) -> None:
    assert probes.pending_count(fragile.url, "chat") >= 0
    with pytest.raises(ReadingUnknown, match="unknown, which is not zero"):
        probes.pending_count(fragile.url, "chat_pooled")


def test_learning_again_gives_the_same_known_answer(fragile: LabPlan, tmp_path: Path) -> None:
    learned = probes.learn_canary(fragile.url, "chat", str(tmp_path / "again.json"), runs=5)
    assert learned["compared"] == ["LOGITS", "TEXT"]
    again = read_golden(tmp_path / "again.json", "chat")
    first = read_golden(Path(fragile.exported["CHAOSGPU_CANARY"]), "chat")
    assert again.cases == first.cases
    assert [path.name for path in tmp_path.glob("*.json")] == ["again.json"]
