"""job update: from flags to changes."""

from __future__ import annotations

import pytest

from mlcli.cli.edits import changes
from mlcli.domain.errors import UsageError
from mlcli.domain.run import Run, RunChanges

RUN = Run("a", "exp", "local", "local", 0.0, tags={"stage": "trial", "owner": "me"}, properties={"p": "1"})


def test_one_tag_is_set_and_the_others_stay():
    assert changes(RUN, ["tags.stage=final"]) == RunChanges(tags={"stage": "final", "owner": "me"})


def test_several_at_once_the_last_one_wins():
    made = changes(
        RUN,
        ["display_name=A", "display_name=B = C", "description=", "properties.q=2", "tags.a.b=dotted"],
        ["tags.owner"],
    )
    assert made == RunChanges(
        display_name="B = C", description="", properties={"p": "1", "q": "2"}, tags={"stage": "trial", "a.b": "dotted"}
    )


def test_a_whole_map_is_json():
    assert changes(RUN, ['tags={"a": 1, "b": "x"}']) == RunChanges(tags={"a": "1", "b": "x"})


def test_removing():
    assert changes(RUN, (), ["tags", "description"]) == RunChanges(tags={}, description="")


@pytest.mark.parametrize(
    ("sets", "removes", "message", "hint"),
    [
        (["tags.a"], [], "no '='", "tags.stage=final"),
        (["status=Completed"], [], "cannot be changed", "what can be"),
        (["display=x"], [], "cannot be changed", "did you mean 'display_name'?"),
        (["display_name.x=1"], [], "cannot be changed", "what can be"),
        (["tags=a"], [], "not a JSON object", "tags.KEY=VALUE"),
        ([], ["tags.stge"], "no such entry", "did you mean 'stage'?"),
    ],
)
def test_what_cannot_be_done_says_what_can(sets, removes, message, hint):
    with pytest.raises(UsageError) as refused:
        changes(RUN, sets, removes)
    assert message in refused.value.message
    assert hint in (refused.value.hint or "")
