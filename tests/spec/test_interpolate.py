"""References in commands: which braces are ours, which are the shell's, and what takes their place."""

from __future__ import annotations

import contextlib
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcli.domain.errors import MlcliError, Place
from mlcli.domain.job import Generation
from mlcli.spec.interpolate import interpolate, literal_text, references, rewrite

G1, G2, G3 = Generation.G1, Generation.G2, Generation.G3
IRIS = {"inputs.iris": "/data/iris.csv"}


def keys(text: str, generation: Generation = G3) -> list[str]:
    return [found.key for found in references(text, generation)]


def test_a_value_that_needs_no_quoting_gets_none():
    assert interpolate("python main.py --iris-csv ${{inputs.iris}}", IRIS) == "python main.py --iris-csv /data/iris.csv"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("cat ${{inputs.x}}", "cat 'my data.csv'"),
        ("cat '${{inputs.x}}'", "cat 'my data.csv'"),
        ('cat "${{inputs.x}}"', 'cat "my data.csv"'),
        ("cat --x=${{inputs.x}}/a", "cat --x='my data.csv'/a"),
        ("cat ${{ inputs.x }}", "cat 'my data.csv'"),
        ("cat <inputs.x>", "cat 'my data.csv'"),
        ("# ${{inputs.x}}\nls", "# my data.csv\nls"),
        ("cat <<E\n${{inputs.x}}\nE", "cat <<E\nmy data.csv\nE"),
        ('x="$(cat ${{inputs.x}})"', "x=\"$(cat 'my data.csv')\""),
        ("x=`cat ${{inputs.x}}`", "x=`cat 'my data.csv'`"),
    ],
)
def test_each_value_is_one_word_wherever_it_stands(template, expected):
    assert interpolate(template, {"inputs.x": "my data.csv"}) == expected


def test_every_brace_that_is_not_a_reference_is_the_shells():
    command = (
        "export X=${HOME}/a && awk -F, '{print $1, $NF}' {inputs.iris} && echo '{\"a\": {\"b\": [1]}}' {a,b} {inputs.x y} "
        "{ inputs.iris } ${inputs.iris} ${#X} $((1 + 2)) {inputs} {outputs.model}"
    )
    done = interpolate(command, IRIS, generation=G1)
    assert done == command.replace(" {inputs.iris} ", " /data/iris.csv ")


def test_each_generation_has_its_own_grammar():
    text = "{inputs.a} ${{inputs.b}} <inputs.c> {search_space.d} ${{search_space.e}} ${{outputs.f}} ${{name}}"
    assert keys(text, G1) == [
        "inputs.a",
        "inputs.b",
        "inputs.c",
        "search_space.d",
        "search_space.e",
        "outputs.f",
        "name",
    ]
    assert keys(text, G2) == ["inputs.b", "inputs.c", "search_space.e", "outputs.f", "name"]
    assert keys(text, G3) == keys(text, G2)


def test_references_between_the_steps_of_a_pipeline_are_told_apart():
    found = references("${{parent.jobs.train.outputs.model}} ${{parent.inputs.x}} ${{jobs.prep-job.outputs.o}}")
    assert [(one.kind, one.name) for one in found] == [
        ("parent.jobs", "train.outputs.model"),
        ("parent.inputs", "x"),
        ("jobs", "prep-job.outputs.o"),
    ]
    text = "a ${{ inputs.x }} b"
    (one,) = references(text)
    assert text[slice(*one.span)] == "${{ inputs.x }}"


@pytest.mark.parametrize(
    "command",
    [
        "cat <inputs.txt",
        "cat <inputs.txt >out",
        "cat <inputs.txt>out",
        "cat <<inputs.iris>\n",
        "a <inputs. iris>",
        "x<y>z",
    ],
)
def test_angle_brackets_are_redirections_unless_the_job_declares_the_name(command):
    assert interpolate(command, IRIS) == command


def test_an_optional_fragment_goes_when_its_input_is_absent():
    command = "train $[[--rate ${{inputs.rate}}]] $[[--iris ${{inputs.iris}}]] $[[1+1]]"
    assert interpolate(command, IRIS) == "train  --iris /data/iris.csv $[[1+1]]"
    assert [(one.key, one.optional) for one in references(command)] == [("inputs.rate", True), ("inputs.iris", True)]


def test_a_reference_without_a_value_is_refused_with_what_there_is():
    with pytest.raises(MlcliError) as caught:
        interpolate("cat ${{inputs.iriss}}", IRIS, place=Place("job.yml", 3, 10))
    assert "inputs.iriss" in caught.value.message
    assert "inputs.iris" in (caught.value.hint or "")
    assert str(caught.value.place) == "job.yml:3:10"


@pytest.mark.parametrize(
    ("command", "value", "why"),
    [
        ("cat <<'E'\n${{inputs.x}}\nE\n", "a\nE\nrm -rf /", "here-document"),
        ("cat <<E\n${{inputs.x}}\nE\n", "E", "here-document"),
        ('x="$(cat <<E\n${{inputs.x}}\nE\n)"', "E)", "here-document"),
        ("cat <<${{inputs.x}}\nE", "E", "delimiter"),
        ("cat ${{inputs.x}}", "a\0b", "NUL"),
        ("echo \\${{inputs.x}}", "secret-value", "backslash"),
        ("echo $${{inputs.x}}", "secret-value", "dollar"),
        ('echo "\\${{inputs.x}}"', "secret-value", "backslash"),
        ("echo $((1 + ${{inputs.x}}))", "a[$(id)]", "arithmetic"),
        ("a[${{inputs.x}}]=1", "x[$(id)]", "arithmetic"),
        ("((n < ${{inputs.x}}))", "x[$(id)]", "arithmetic"),
        ('echo "${X:-${{inputs.x}}}"', "a b", "expansion"),
        ("cat <<E\n$HOME${{inputs.x}}\nE", "abc", "NAME"),
    ],
)
def test_a_value_that_no_quoting_keeps_whole_is_refused_without_being_shown(command, value, why):
    with pytest.raises(MlcliError) as caught:
        interpolate(command, {"inputs.x": value})
    assert why in caught.value.message
    assert "inputs.x" in caught.value.message or "delimiter" in caught.value.message
    assert "secret-value" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("command", "values", "expected"),
    [
        ("echo $((1 + ${{inputs.n}}))", {"n": "41"}, "42"),
        ("echo $((1 - ${{inputs.n}}))", {"n": "-41"}, "42"),
        ("echo ${{inputs.n}}>&1", {"n": "2"}, "2"),
        ("echo $V${{inputs.n}}", {"n": "alue"}, "alue"),
        ('echo "$V${{inputs.n}}"', {"n": "alue"}, "alue"),
        ("${{inputs.n}} x || echo none", {"n": "if"}, "none"),
        ("${{inputs.n}} || echo $V", {"n": "V=1"}, ""),
        ("echo {a,${{inputs.n}}}", {"n": "b,c"}, "a b,c"),
        ("echo ~${{inputs.n}}", {"n": "root"}, "~root"),
        ("for i in 1 2; do echo ${{inputs.n}}; done", {"n": "*"}, "*\n*"),
        ("case ${{inputs.n}} in ${{inputs.n}}) echo same;; esac", {"n": "[a]*"}, "same"),
        ("cat <<-E\n\t${{inputs.n}}\n\tE", {"n": "$HOME `id` \\"}, "$HOME `id` \\"),
        ("cat <<'E'\n${{inputs.n}}\nE", {"n": "$HOME `id` \\"}, "$HOME `id` \\"),
        ("echo $'a\\t${{inputs.n}}\\tb'", {"n": "it's\\t"}, "a\tit's\\t\tb"),
        ('echo "$(echo "`echo "${{inputs.n}}"`")"', {"n": "a'b"}, "a'b"),
    ],
)
def test_a_real_shell_sees_the_value_and_nothing_else(command, values, expected, tmp_path):
    text = interpolate(command, {f"inputs.{name}": value for name, value in values.items()})
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.rstrip("\n") == expected, (text, done)
    assert not list(tmp_path.iterdir())


def test_older_forms_are_rewritten_and_nothing_else_is():
    command = "p {inputs.a} ${{ inputs.b }} <inputs.c> <inputs.d> {search_space.e} ${X} '{print}'"
    declared = {"inputs.a", "inputs.b", "inputs.c"}
    assert rewrite(command, G1, declared) == (
        "p ${{inputs.a}} ${{inputs.b}} ${{inputs.c}} <inputs.d> ${{search_space.e}} ${X} '{print}'"
    )
    assert rewrite("p {inputs.a}", G3, declared) == "p {inputs.a}"


@pytest.mark.parametrize(
    ("value", "written", "expected"),
    [
        (True, "true", "True"),
        (False, "no", "False"),
        (0.1, "0.10", "0.10"),
        (1e-05, "0.00001", "0.00001"),
        (1e-05, None, "1e-05"),
        (31, "0x1F", "31"),
        (7, "7", "7"),
        ("hello world", None, "hello world"),
        (None, "~", ""),
    ],
)
def test_literals_become_the_text_that_was_meant(value, written, expected):
    assert literal_text(value, written) == expected


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    text=st.text(st.sampled_from("${}[]<>inputs.x_ \n'\"\\`()#|;&=-"), max_size=60),
    value=st.text(max_size=10),
    generation=st.sampled_from([G1, G2, G3]),
)
def test_any_text_is_read_without_a_crash_and_rewriting_twice_changes_nothing(text, value, generation):
    once = rewrite(text, generation, {"inputs.x"})
    assert rewrite(once, G3, {"inputs.x"}) == once
    with contextlib.suppress(MlcliError):
        interpolate(text, {"inputs.x": value}, generation=generation)


@pytest.mark.parametrize("opener", ["$(", '"$(', "$((", "${a:-", "((("])
def test_absurd_nesting_is_refused_or_read(opener):
    with contextlib.suppress(MlcliError):
        interpolate(opener * 5000 + "${{inputs.x}}", {"inputs.x": "a"})
